// What a manifest keeps of each table: enough to find the table for a key and to open it by one
// ranged GET.
//
//   varint id | varint bytes | varint tailBytes | varint entries
//   | varint n, firstKey | varint n, lastKey

import { type ByteReader, type ByteWriter, compareBytes } from '../../base/bytes.ts';

export interface TableDescriptor {
  readonly id: number;
  /** Size of the whole object. */
  readonly bytes: number;
  /** Size of filter, index and footer: the end of the object, read when the table is opened. */
  readonly tailBytes: number;
  readonly entries: number;
  readonly firstKey: Uint8Array;
  readonly lastKey: Uint8Array;
}

export function encodeDescriptor(out: ByteWriter, table: TableDescriptor): void {
  out.varint(table.id);
  out.varint(table.bytes);
  out.varint(table.tailBytes);
  out.varint(table.entries);
  out.lengthPrefixed(table.firstKey);
  out.lengthPrefixed(table.lastKey);
}

/** Owned: nothing of the reader's buffer is kept. */
export function decodeDescriptor(reader: ByteReader): TableDescriptor {
  const table: TableDescriptor = {
    id: reader.varint(),
    bytes: reader.varint(),
    tailBytes: reader.varint(),
    entries: reader.varint(),
    firstKey: new Uint8Array(reader.lengthPrefixed()),
    lastKey: new Uint8Array(reader.lengthPrefixed()),
  };
  if (table.entries === 0 || table.tailBytes >= table.bytes) {
    throw reader.corrupt('describes a table without entries');
  }
  if (compareBytes(table.firstKey, table.lastKey) > 0) {
    throw reader.corrupt('describes a table whose keys descend');
  }
  return table;
}

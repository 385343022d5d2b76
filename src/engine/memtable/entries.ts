// A memtable as table entries in key order: metas, chunks, segments.

import { ByteWriter, compareBytes } from '../../base/bytes.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import { frameTableToBytes } from '../format/frame-table.ts';
import { chunkKey, metaKey, segmentKey } from '../format/keys.ts';
import type { Memtable } from './memtable.ts';

export interface MemtableEntry {
  readonly key: Uint8Array;
  /** Borrowed until the next entry is asked for. */
  readonly value: Uint8Array;
}

const DELETED = Uint8Array.of(0);

export function* memtableEntries(memtable: Memtable): Generator<MemtableEntry> {
  const metas = [...memtable.metas].map(([name, value]) => ({ key: metaKey(name), value }));
  metas.sort((a, b) => compareBytes(a.key, b.key));
  for (const { key, value } of metas) {
    yield { key, value: value === undefined ? DELETED : Buffer.concat([Uint8Array.of(1), value]) };
  }
  const out = new ByteWriter(256);
  for (const [inode, chunks] of memtable.sortedChunks()) {
    for (const chunk of chunks) {
      const slot = memtable.find(inode, chunk);
      out.reset();
      encodeBlockMap(out, memtable.page(slot), memtable.mapAt(slot), 0);
      yield { key: chunkKey(inode, chunk), value: out.view() };
    }
  }
  const segments = [...memtable.segments].sort((a, b) => a[0] - b[0]);
  for (const [segment, table] of segments) {
    yield { key: segmentKey(segment), value: frameTableToBytes(table) };
  }
}

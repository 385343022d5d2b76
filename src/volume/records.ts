// What a branch keeps of its volumes, as named records.
//
//   `volumes`       u8 version (1) │ varint next inode │ varint count × text name
//   `volume/<name>` u8 version (1) │ varint inode │ varint sizeBytes

import { ByteReader, ByteWriter } from '../base/bytes.ts';

export const DIRECTORY_RECORD = 'volumes';
const VERSION = 1;

export interface VolumeDirectory {
  readonly nextInode: number;
  readonly names: readonly string[];
}

export interface VolumeRecord {
  readonly inode: number;
  readonly sizeBytes: number;
}

/** Name of the record of one volume. */
export function recordName(name: string): string {
  return `volume/${name}`;
}

export function encodeDirectory(nextInode: number, names: Iterable<string>): Uint8Array {
  const list = [...names];
  const out = new ByteWriter();
  out.u8(VERSION);
  out.varint(nextInode);
  out.varint(list.length);
  for (const name of list) out.text(name);
  return out.finish();
}

/** `corrupt` for anything but what `encodeDirectory` makes. */
export function decodeDirectory(bytes: Uint8Array): VolumeDirectory {
  const reader = versioned(bytes, 'the directory of volumes');
  const nextInode = reader.varint();
  const names = Array.from({ length: reader.count() }, () => reader.text());
  reader.expectEnd();
  return { nextInode, names };
}

export function encodeRecord({ inode, sizeBytes }: VolumeRecord): Uint8Array {
  const out = new ByteWriter(16);
  out.u8(VERSION);
  out.varint(inode);
  out.varint(sizeBytes);
  return out.finish();
}

/** `corrupt` for anything but what `encodeRecord` makes. */
export function decodeRecord(name: string, bytes: Uint8Array): VolumeRecord {
  const reader = versioned(bytes, `volume "${name}"`);
  const record = { inode: reader.varint(), sizeBytes: reader.varint() };
  reader.expectEnd();
  return record;
}

function versioned(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes, what);
  if (reader.u8() !== VERSION) throw reader.corrupt('has an unknown version');
  return reader;
}

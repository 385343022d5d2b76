// Keys of the tree. They sort by bytes:
//
//   0x01 ‖ name                              meta: small named records (volumes, counters)
//   0x02 ‖ inode (6, BE) ‖ chunk (5, BE)      block map of one chunk of a file
//   0x03 ‖ segment (6, BE)                    frame table of one log segment
//
// Values: meta = 0x00 (deleted) or 0x01 ‖ bytes; chunk = block map (block-map.ts); segment =
// frame-table.ts.

import { readSortable, writeSortable } from '../../base/bytes.ts';

export const KEY_META = 1;
export const KEY_CHUNK = 2;
export const KEY_SEGMENT = 3;

export const INODE_MAX = 2 ** 48 - 1;
/** Chunk numbers fit five bytes: files of up to 2^57 bytes. */
export const CHUNK_MAX = 2 ** 40 - 1;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

export function metaKey(name: string): Uint8Array {
  const bytes = textEncoder.encode(name);
  const key = new Uint8Array(1 + bytes.length);
  key[0] = KEY_META;
  key.set(bytes, 1);
  return key;
}

export function metaNameOf(key: Uint8Array): string {
  return textDecoder.decode(key.subarray(1));
}

export function chunkKey(inode: number, chunk: number): Uint8Array {
  const key = new Uint8Array(12);
  key[0] = KEY_CHUNK;
  writeSortable(key, 1, inode, 6);
  writeSortable(key, 7, chunk, 5);
  return key;
}

export function inodeOfKey(key: Uint8Array): number {
  return readSortable(key, 1, 6);
}

export function chunkOfKey(key: Uint8Array): number {
  return readSortable(key, 7, 5);
}

export function segmentKey(segment: number): Uint8Array {
  const key = new Uint8Array(7);
  key[0] = KEY_SEGMENT;
  writeSortable(key, 1, segment, 6);
  return key;
}

export function segmentOfKey(key: Uint8Array): number {
  return readSortable(key, 1, 6);
}

// The frame table of a log segment: which object holds it and where each sealed frame lies in that
// object, so that any block is one ranged GET away.
//
//   varint 0 │ varint live blocks │ varint logNumber │ varint dataId │ u8 cipher │ salt (16)
//   varint blocks │ varint blocksPerFrame │ varint sealed length × frames
//
// Frames lie one after another from byte 0 of the object: the log object `logNumber`, or the data
// object `dataId` where that is not 0. All but the last hold `blocksPerFrame` blocks. `live` counts
// the pointers to the segment in the run that the value lies in (RFC 0003). Version 1 began with
// logNumber, which is never 0, and had neither count nor data objects.

import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { CIPHER_IDS, cipherFromId, SALT_BYTES, type CipherName } from '../../codec/types.ts';
import { SEGMENT_BLOCKS_LIMIT } from './pointer.ts';

/** Offsets in an object are u32. */
const OFFSET_MAX = 2 ** 32 - 1;

export interface FrameTable {
  /** Of the commit that the segment is. */
  readonly logNumber: number;
  /** The data object that holds the frames, or 0: then it is the log object. */
  readonly dataId: number;
  readonly cipher: CipherName;
  readonly salt: Uint8Array;
  readonly blocks: number;
  readonly blocksPerFrame: number;
  /** Frame f lies at bytes [offsets[f], offsets[f + 1]) of the object. */
  readonly offsets: Uint32Array;
}

export function frameCount(blocks: number, blocksPerFrame: number): number {
  return Math.ceil(blocks / blocksPerFrame);
}

/** Prefix sums of the sealed lengths: `frames + 1` offsets. */
export function offsetsOf(lengths: ArrayLike<number>): Uint32Array {
  const offsets = new Uint32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) offsets[i + 1] = offsets[i]! + lengths[i]!;
  return offsets;
}

/** What `offsetsOf` was made from. */
export function lengthsOf(offsets: Uint32Array): Uint32Array {
  const lengths = new Uint32Array(offsets.length - 1);
  for (let i = 0; i < lengths.length; i++) lengths[i] = offsets[i + 1]! - offsets[i]!;
  return lengths;
}

/** Estimated bytes that a table takes in memory: what caches account for. */
export function frameTableBytes(table: FrameTable): number {
  return 256 + table.offsets.byteLength;
}

/** A frame table in the tree, with what its run says of it. */
export interface SegmentEntry {
  readonly table: FrameTable;
  readonly live: number;
}

/** The value of a segment's key. */
export function segmentEntryToBytes(table: FrameTable, live: number): Uint8Array {
  const out = new ByteWriter(64 + table.offsets.length * 3);
  out.varint(0);
  out.varint(live);
  out.varint(table.logNumber);
  out.varint(table.dataId);
  out.u8(CIPHER_IDS[table.cipher]);
  out.bytes(table.salt);
  out.varint(table.blocks);
  out.varint(table.blocksPerFrame);
  for (const length of lengthsOf(table.offsets)) out.varint(length);
  return out.finish();
}

export function decodeSegmentEntry(reader: ByteReader): SegmentEntry {
  const first = reader.varint();
  const isVersion1 = first !== 0;
  const live = isVersion1 ? undefined : reader.varint();
  const logNumber = isVersion1 ? first : reader.varint();
  const dataId = isVersion1 ? 0 : reader.varint();
  const cipher = cipherFromId(reader.u8());
  const salt = reader.bytes(SALT_BYTES).slice();
  const blocks = reader.varint();
  const blocksPerFrame = reader.varint();
  const lengths = decodeLengths(reader, blocks, blocksPerFrame);
  const offsets = offsetsOf(lengths);
  const table = { logNumber, dataId, cipher, salt, blocks, blocksPerFrame, offsets };
  return { table, live: live ?? blocks };
}

/** The same entry with another count. */
export function withLiveCount(value: Uint8Array, live: number): Uint8Array {
  const reader = new ByteReader(value, 'frame table');
  const first = reader.varint();
  const out = new ByteWriter(value.length + 8);
  out.varint(0);
  out.varint(live);
  if (first === 0) {
    reader.varint();
  } else {
    out.varint(first);
    out.varint(0);
  }
  out.bytes(reader.bytes(reader.remaining));
  return out.finish();
}

/**
 * Reads the sealed lengths of the frames of so many blocks. `corrupt` when there cannot be as many,
 * or when they do not fit the offsets of one object.
 */
export function decodeLengths(
  reader: ByteReader,
  blocks: number,
  blocksPerFrame: number,
): Uint32Array {
  if (blocks > SEGMENT_BLOCKS_LIMIT) throw reader.corrupt('counts too many blocks');
  if (blocksPerFrame < 1 || blocksPerFrame > SEGMENT_BLOCKS_LIMIT) {
    throw reader.corrupt('has an impossible frame size');
  }
  const count = frameCount(blocks, blocksPerFrame);
  // Each takes a byte at least: nothing is allocated for frames that are not there.
  if (count > reader.remaining) throw reader.corrupt('has a count past its end');
  const lengths = new Uint32Array(count);
  let end = 0;
  for (let f = 0; f < count; f++) {
    const length = reader.varint();
    end += length;
    if (end > OFFSET_MAX) throw reader.corrupt('has frames past the end of any object');
    lengths[f] = length;
  }
  return lengths;
}

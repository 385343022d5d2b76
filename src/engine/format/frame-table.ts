// The frame table of a log segment: which object holds it and where each sealed frame lies in that
// object, so that any block is one ranged GET away.
//
//   varint logNumber │ u8 cipher │ salt (16) │ varint blocks │ varint blocksPerFrame
//   varint sealed length × frames
//
// Frames lie one after another from byte 0 of the object. All but the last hold `blocksPerFrame`
// blocks.

import { type ByteReader, ByteWriter } from '../../base/bytes.ts';
import { CIPHER_IDS, cipherFromId, SALT_BYTES, type CipherName } from '../../codec/types.ts';
import { SEGMENT_BLOCKS_LIMIT } from './pointer.ts';

export interface FrameTable {
  readonly logNumber: number;
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

/** Estimated bytes that a table takes in memory: what caches account for. */
export function frameTableBytes(table: FrameTable): number {
  return 256 + table.offsets.byteLength;
}

export function encodeFrameTable(out: ByteWriter, table: FrameTable): void {
  out.varint(table.logNumber);
  out.u8(CIPHER_IDS[table.cipher]);
  out.bytes(table.salt);
  out.varint(table.blocks);
  out.varint(table.blocksPerFrame);
  for (let f = 0; f + 1 < table.offsets.length; f++) {
    out.varint(table.offsets[f + 1]! - table.offsets[f]!);
  }
}

export function decodeFrameTable(reader: ByteReader): FrameTable {
  const logNumber = reader.varint();
  const cipher = cipherFromId(reader.u8());
  const salt = reader.bytes(SALT_BYTES).slice();
  const blocks = reader.varint();
  const blocksPerFrame = reader.varint();
  if (blocks > SEGMENT_BLOCKS_LIMIT) throw reader.corrupt('counts too many blocks');
  if (blocksPerFrame < 1 || blocksPerFrame > SEGMENT_BLOCKS_LIMIT) {
    throw reader.corrupt('has an impossible frame size');
  }
  const lengths = new Uint32Array(frameCount(blocks, blocksPerFrame));
  for (let f = 0; f < lengths.length; f++) lengths[f] = reader.varint();
  return { logNumber, cipher, salt, blocks, blocksPerFrame, offsets: offsetsOf(lengths) };
}

export function frameTableToBytes(table: FrameTable): Uint8Array {
  const out = new ByteWriter(64 + table.offsets.length * 3);
  encodeFrameTable(out, table);
  return out.finish();
}

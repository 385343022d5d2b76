// From a closed segment to the bytes of its log object (format/log-object.ts).

import { ByteWriter } from '../../base/bytes.ts';
import type { Rng } from '../../base/rng.ts';
import { FrameKind, sealedFrameBytesMax } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import { SALT_BYTES, type CipherName, type CompressionName } from '../../codec/types.ts';
import { offsetsOf, type FrameTable } from '../format/frame-table.ts';
import { FOOTER_BYTES, writeFooter } from '../format/log-object.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import { encodeCommit, RECORD_COMMIT } from '../format/records.ts';
import type { Segment } from './segment.ts';

export interface SealComponents {
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly rng: Rng;
}

export interface SealSettings {
  /** Plaintext bytes of a frame. */
  readonly frameBytes: number;
  readonly cipher: CipherName;
  readonly compression: CompressionName;
}

export interface ClosedSegment {
  readonly name: string;
  readonly logNumber: number;
  readonly epoch: number;
  readonly durableBefore: number;
  readonly segment: Segment;
  /** `segment.encodeChunks()` at the moment when it closed. */
  readonly chunks: Uint8Array;
}

export interface SealedSegment {
  /** Borrowed from the segment's arena: valid until that is given back. */
  readonly body: readonly Uint8Array[];
  readonly table: FrameTable;
}

/** Seals frames, record and footer under a fresh salt. */
export async function sealSegment(
  { sealer, keyring, rng }: SealComponents,
  { cipher, compression, frameBytes }: SealSettings,
  closed: ClosedSegment,
): Promise<SealedSegment> {
  const { segment, logNumber, chunks } = closed;
  const salt = rng.bytes(SALT_BYTES);
  const seal = keyring.sealFor(closed.name, salt, cipher);
  const { plain, sealed } = segment.arena;
  const lengths = await sealer.seal({
    seal,
    kind: FrameKind.data,
    firstIndex: 0,
    compression,
    source: plain.subarray(0, segment.plainBytes),
    plainLengths: frameLengthsOf(segment.plainBytes, frameBytes),
    target: sealed,
  });
  const offsets = offsetsOf(lengths);
  const dataBytes = offsets[lengths.length]!;
  const blocksPerFrame = frameBytes / BLOCK_BYTES;
  const record = new ByteWriter(chunks.length + lengths.length * 4 + 64);
  encodeCommit(record, {
    type: RECORD_COMMIT,
    epoch: closed.epoch,
    segment: segment.id,
    durableBefore: closed.durableBefore,
    blocks: segment.blocks,
    blocksPerFrame,
    frameLengths: lengths,
    metas: [...segment.metas],
    chunks,
  });
  const tail = new Uint8Array(sealedFrameBytesMax(record.length) + FOOTER_BYTES);
  const [recordBytes = 0] = await sealer.seal({
    seal,
    kind: FrameKind.records,
    firstIndex: 0,
    compression,
    source: record.view(),
    plainLengths: Uint32Array.of(record.length),
    target: tail,
  });
  const objectBytes = dataBytes + recordBytes + FOOTER_BYTES;
  writeFooter(tail, recordBytes, { cipher, salt, recordBytes, objectBytes }, seal);
  return {
    body: [sealed.subarray(0, dataBytes), tail.subarray(0, recordBytes + FOOTER_BYTES)],
    table: { logNumber, cipher, salt, blocks: segment.blocks, blocksPerFrame, offsets },
  };
}

/** All frames are full but the last. */
function frameLengthsOf(plainBytes: number, frameBytes: number): Uint32Array {
  const lengths = new Uint32Array(Math.ceil(plainBytes / frameBytes));
  lengths.fill(frameBytes);
  const rest = plainBytes % frameBytes;
  if (rest !== 0) lengths[lengths.length - 1] = rest;
  return lengths;
}

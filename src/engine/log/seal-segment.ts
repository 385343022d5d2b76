// From a closed segment to the bytes of its log object (format/log-object.ts).

import { ByteWriter } from '../../base/bytes.ts';
import type { Rng } from '../../base/rng.ts';
import { FrameKind, sealedFrameBytesMax } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import { SALT_BYTES, type CipherName, type CompressionName } from '../../codec/types.ts';
import { lengthsOf, offsetsOf, type FrameTable } from '../format/frame-table.ts';
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

/** What `sealObject` made. */
interface SealedObject {
  readonly body: readonly Uint8Array[];
  readonly salt: Uint8Array;
  readonly offsets: Uint32Array;
}

/**
 * Seals frames, record and footer under a fresh salt: an object of the log's format. `recordOf`
 * gets the sealed lengths of the frames. `body` lies partly in `sealed`, borrowed.
 */
export async function sealObject(
  { sealer, keyring, rng }: SealComponents,
  { cipher, compression, frameBytes }: SealSettings,
  object: { readonly name: string; readonly plain: Uint8Array; readonly sealed: Uint8Array },
  recordOf: (frameLengths: Uint32Array) => ByteWriter,
): Promise<SealedObject> {
  const { name, plain, sealed } = object;
  const salt = rng.bytes(SALT_BYTES);
  const seal = keyring.sealFor(name, salt, cipher);
  const lengths = await sealer.seal({
    seal,
    kind: FrameKind.data,
    firstIndex: 0,
    compression,
    source: plain,
    plainLengths: frameLengthsOf(plain.length, frameBytes),
    target: sealed,
  });
  const offsets = offsetsOf(lengths);
  const dataBytes = offsets[lengths.length]!;
  const record = recordOf(lengths);
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
  const body = [sealed.subarray(0, dataBytes), tail.subarray(0, recordBytes + FOOTER_BYTES)];
  return { body, salt, offsets };
}

/** The log object of a closed segment. */
export async function sealSegment(
  components: SealComponents,
  settings: SealSettings,
  closed: ClosedSegment,
): Promise<SealedSegment> {
  const { segment, logNumber, chunks, name } = closed;
  const { relocated } = segment;
  const { plain, sealed } = segment.arena;
  const blocksPerFrame = settings.frameBytes / BLOCK_BYTES;
  const object = { name, plain: plain.subarray(0, segment.plainBytes), sealed };
  const recordOf = (frameLengths: Uint32Array): ByteWriter => {
    const record = new ByteWriter(chunks.length + frameLengths.length * 4 + 64);
    encodeCommit(record, {
      type: RECORD_COMMIT,
      epoch: closed.epoch,
      segment: segment.id,
      durableBefore: closed.durableBefore,
      ...(relocated === undefined
        ? { data: undefined, blocks: segment.blocks, blocksPerFrame, frameLengths }
        : {
            data: { ...relocated, id: relocated.dataId },
            blocks: relocated.blocks,
            blocksPerFrame: relocated.blocksPerFrame,
            frameLengths: lengthsOf(relocated.offsets),
          }),
      metas: [...segment.metas],
      chunks,
    });
    return record;
  };
  const { body, salt, offsets } = await sealObject(components, settings, object, recordOf);
  const { cipher } = settings;
  const own = { dataId: 0, cipher, salt, blocks: segment.blocks, blocksPerFrame, offsets };
  return { body, table: { ...(relocated ?? own), logNumber } };
}

/** All frames are full but the last. */
function frameLengthsOf(plainBytes: number, frameBytes: number): Uint32Array {
  const lengths = new Uint32Array(Math.ceil(plainBytes / frameBytes));
  lengths.fill(frameBytes);
  const rest = plainBytes % frameBytes;
  if (rest !== 0) lengths[lengths.length - 1] = rest;
  return lengths;
}

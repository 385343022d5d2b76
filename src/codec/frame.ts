// One sealed frame: the unit that is compressed, encrypted and authenticated on its own.
//
//   0        1                   4                                      sealed length - 16  end
//   | u8     | u24 LE            | ciphertext                           | tag                |
//   | compr. | plaintext length  | of the plaintext or its compressed   | 16 bytes           |
//   +--------- clear header -----+ form, as long as that ---------------+--------------------+
//
//   nonce (12)      = kind u32 LE ‖ index u64 LE
//   associated data = the object's associated bytes ‖ nonce ‖ clear header
//
// A frame does not hold its own sealed length: whoever stores it keeps that beside it.
//
// Invariants:
// 1. Nothing is decompressed, nor written to the caller's buffer, before its tag has been checked.
// 2. The plaintext length is checked against the caller's bound before memory is taken for it.
// 3. One seal never covers two different frames of one (kind, index): each object has its own key,
//    and the caller numbers frames and tags of one kind without repeating.

import { assert } from '../base/assert.ts';
import { writeU53LE } from '../base/bytes.ts';
import { StorageError } from '../base/errors.ts';
import { aeadOpen, aeadSeal } from './aead.ts';
import type { AeadParameters } from './aead.ts';
import { compress, decompress } from './compression.ts';
import { COMPRESSION_IDS, compressionOfId, NONCE_BYTES, TAG_BYTES } from './types.ts';
import type { CompressionName, ObjectSeal } from './types.ts';

/**
 * What a frame holds. Part of its nonce, so that two kinds of frame of one object never share one.
 */
export const FrameKind = {
  data: 1,
  records: 2,
  footer: 3,
  tableBlock: 4,
  tableIndex: 5,
  tableFilter: 6,
  envelope: 7,
  journalHeader: 8,
  journalRecord: 9,
  journalData: 10,
} as const;

export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const FRAME_HEADER_BYTES = 4;
export const FRAME_OVERHEAD_BYTES = FRAME_HEADER_BYTES + TAG_BYTES;

/** What 24 bits of length can say. */
export const FRAME_PLAIN_BYTES_MAX = 2 ** 24 - 1;

const NO_BYTES = new Uint8Array(0);

/**
 * The most that a frame of `plainBytes` can take when sealed: compression is used only when it
 * saves.
 */
export function sealedFrameBytesMax(plainBytes: number): number {
  return plainBytes + FRAME_OVERHEAD_BYTES;
}

/**
 * Seals `source` to `target` at `targetAt`, where `sealedFrameBytesMax` bytes are free. Both are
 * borrowed and must not overlap. Returns the sealed length.
 */
export function sealFrame(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  compression: CompressionName,
  source: Uint8Array,
  target: Uint8Array,
  targetAt: number,
): number {
  assert(source.length <= FRAME_PLAIN_BYTES_MAX, 'a frame is shorter than 16 MiB');
  assert(
    targetAt + sealedFrameBytesMax(source.length) <= target.length,
    'the target has room for the sealed frame',
  );
  const packed = compress(compression, source);
  target[targetAt] = packed === undefined ? COMPRESSION_IDS.none : COMPRESSION_IDS[compression];
  target[targetAt + 1] = source.length & 0xff;
  target[targetAt + 2] = (source.length >>> 8) & 0xff;
  target[targetAt + 3] = source.length >>> 16;
  const text = packed ?? source;
  const header = target.subarray(targetAt, targetAt + FRAME_HEADER_BYTES);
  const parameters = parametersOf(seal, kind, index, header);
  aeadSeal(parameters, text, target, targetAt + FRAME_HEADER_BYTES);
  return text.length + FRAME_OVERHEAD_BYTES;
}

/**
 * Opens the frame that `sealed` holds exactly, to `target` at `targetAt`. Both are borrowed.
 * Returns the plaintext's length. `corrupt` when any bit differs from what was sealed under this
 * object, kind and index, or when the plaintext does not fit the target.
 */
export function unsealFrame(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  sealed: Uint8Array,
  target: Uint8Array,
  targetAt: number,
): number {
  assert(targetAt <= target.length, 'the frame starts within the target');
  const plain = openFrame(seal, kind, index, sealed, target.length - targetAt);
  target.set(plain, targetAt);
  return plain.length;
}

/** Like `unsealFrame`, but gives the plaintext, at most `plainBytesMax` long, in owned memory. */
export function openFrame(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  sealed: Uint8Array,
  plainBytesMax: number,
): Uint8Array {
  if (sealed.length < FRAME_OVERHEAD_BYTES) {
    throw corrupt(seal, kind, index, `ends early, after ${sealed.length} bytes`);
  }
  const compression = compressionOfId(sealed[0]!);
  if (compression === undefined) {
    throw corrupt(seal, kind, index, `names unknown compression ${sealed[0]}`);
  }
  const plainLength = framePlainLength(sealed, 0);
  if (plainLength > plainBytesMax) {
    throw corrupt(seal, kind, index, `claims ${plainLength} bytes of ${plainBytesMax} at most`);
  }
  const textLength = sealed.length - FRAME_OVERHEAD_BYTES;
  const fits = compression === 'none' ? textLength === plainLength : textLength < plainLength;
  if (!fits) {
    throw corrupt(seal, kind, index, `has ${textLength} bytes for a text of ${plainLength}`);
  }
  const header = sealed.subarray(0, FRAME_HEADER_BYTES);
  const parameters = parametersOf(seal, kind, index, header);
  const text = aeadOpen(parameters, sealed.subarray(FRAME_HEADER_BYTES));
  if (text === undefined) throw corrupt(seal, kind, index, 'fails authentication');
  if (compression === 'none') return asPlainBytes(text);
  const plain = decompress(compression, text, plainLength);
  if (plain === undefined) throw corrupt(seal, kind, index, `is not valid ${compression}`);
  return asPlainBytes(plain);
}

/**
 * What the clear header at `at` says, not yet authenticated. The header must lie within `bytes`.
 */
export function framePlainLength(bytes: Uint8Array, at: number): number {
  return bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16);
}

/**
 * Writes to `tagTarget` the 16-byte tag over `clear`, which itself stays in clear (a footer). It
 * uses up (kind, index) as a frame does.
 */
export function authenticate(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  clear: Uint8Array,
  tagTarget: Uint8Array,
): void {
  assert(tagTarget.length === TAG_BYTES, 'a tag takes exactly 16 bytes');
  aeadSeal(parametersOf(seal, kind, index, clear), NO_BYTES, tagTarget, 0);
}

/**
 * Checks a tag of `authenticate`; `corrupt` when `clear` or `tag` is not what was authenticated.
 */
export function verifyAuthentic(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  clear: Uint8Array,
  tag: Uint8Array,
): void {
  const intact =
    tag.length === TAG_BYTES && aeadOpen(parametersOf(seal, kind, index, clear), tag) !== undefined;
  if (!intact) throw corrupt(seal, kind, index, 'fails authentication');
}

function parametersOf(
  seal: ObjectSeal,
  kind: FrameKind,
  index: number,
  extra: Uint8Array,
): AeadParameters {
  assert(index >= 0 && Number.isSafeInteger(index), 'a frame index is a whole number');
  const nonceAt = seal.associated.length;
  const associated = new Uint8Array(nonceAt + NONCE_BYTES + extra.length);
  associated.set(seal.associated, 0);
  const view = new DataView(associated.buffer);
  view.setUint32(nonceAt, kind, true);
  writeU53LE(view, nonceAt + 4, index);
  associated.set(extra, nonceAt + NONCE_BYTES);
  const nonce = associated.subarray(nonceAt, nonceAt + NONCE_BYTES);
  return { cipher: seal.cipher, key: seal.key, nonce, associated };
}

function corrupt(seal: ObjectSeal, kind: FrameKind, index: number, why: string): StorageError {
  const what = `${frameKindName(kind)} frame ${index} of ${seal.objectName}`;
  return new StorageError('corrupt', `${what} ${why}`);
}

function frameKindName(kind: FrameKind): string {
  for (const [name, value] of Object.entries(FrameKind)) if (value === kind) return name;
  return `kind ${String(kind)}`;
}

/** A view that is no Buffer, whose `slice` would alias where a caller expects a copy. */
function asPlainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

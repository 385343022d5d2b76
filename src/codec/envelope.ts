// A small object that is sealed whole: a manifest, a branch index.
//
//   0      8          10         11         12     28
//   | magic | u16 LE  | u8       | u8       | salt | one sealed frame (kind envelope, index 0)  end
//   | ASCII | version | cipher   | 0        | 16   |
//
// The frame's associated data is the object's, then bytes 0..28: no bit of the object can change
// unnoticed.

import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { FRAME_OVERHEAD_BYTES, FRAME_PLAIN_BYTES_MAX, FrameKind } from './frame.ts';
import { openFrame, sealedFrameBytesMax, sealFrame } from './frame.ts';
import type { Keyring } from './keyring.ts';
import { CIPHER_IDS, cipherFromId, SALT_BYTES } from './types.ts';
import type { CompressionName, ObjectSeal } from './types.ts';

const MAGIC_BYTES = 8;
const VERSION_AT = 8;
const CIPHER_AT = 10;
const RESERVED_AT = 11;
const SALT_AT = 12;
const HEADER_BYTES = SALT_AT + SALT_BYTES;

/** What a new envelope is. `name` is the object's, as `Keyring.sealFor` takes it. */
export interface EnvelopeIdentity {
  /** Eight ASCII characters. */
  readonly magic: string;
  readonly version: number;
  readonly name: string;
}

/** What is expected of an envelope that was read. */
export interface EnvelopeExpectation {
  readonly magic: string;
  /** The versions that the caller can read. */
  readonly versions: readonly number[];
  readonly name: string;
}

/** The whole object, owned by the caller. `invalid` when `plaintext` is 16 MiB or more. */
export function sealEnvelope(
  keyring: Keyring,
  rng: Rng,
  identity: EnvelopeIdentity,
  plaintext: Uint8Array,
  compression: CompressionName,
): Uint8Array {
  const { magic, version, name } = identity;
  assert(version >= 1 && version <= 0xffff, 'an envelope version fits 16 bits');
  if (plaintext.length > FRAME_PLAIN_BYTES_MAX) {
    throw new StorageError('invalid', `${name} is too large: ${plaintext.length} bytes`);
  }
  const salt = rng.bytes(SALT_BYTES);
  const object = new Uint8Array(HEADER_BYTES + sealedFrameBytesMax(plaintext.length));
  object.set(magicBytes(magic), 0);
  new DataView(object.buffer).setUint16(VERSION_AT, version, true);
  object[CIPHER_AT] = CIPHER_IDS[keyring.cipher];
  object.set(salt, SALT_AT);
  const seal = bindHeader(keyring.sealFor(name, salt), object);
  const kind = FrameKind.envelope;
  const sealed = sealFrame(seal, kind, 0, compression, plaintext, object, HEADER_BYTES);
  return object.slice(0, HEADER_BYTES + sealed);
}

/**
 * The plaintext, owned by the caller. `corrupt` for anything but what `sealEnvelope` made under
 * that name.
 */
export function openEnvelope(
  keyring: Keyring,
  expected: EnvelopeExpectation,
  object: Uint8Array,
): Uint8Array {
  const { name } = expected;
  const version = envelopeVersion(expected.magic, name, object);
  if (!expected.versions.includes(version)) {
    throw corrupt(name, `has unknown version ${version}; is this varve too old?`);
  }
  if (object[RESERVED_AT] !== 0) throw corrupt(name, 'has a reserved byte set');
  const cipher = cipherFromId(object[CIPHER_AT]!, name);
  const salt = object.subarray(SALT_AT, HEADER_BYTES);
  const seal = bindHeader(keyring.sealFor(name, salt, cipher), object);
  const frame = object.subarray(HEADER_BYTES);
  return openFrame(seal, FrameKind.envelope, 0, frame, FRAME_PLAIN_BYTES_MAX);
}

/**
 * The version that the header states, not yet authenticated; `corrupt` for what is no such
 * envelope.
 */
export function envelopeVersion(magic: string, name: string, object: Uint8Array): number {
  if (object.length < HEADER_BYTES + FRAME_OVERHEAD_BYTES) {
    throw corrupt(name, `ends early, after ${object.length} bytes`);
  }
  const wanted = magicBytes(magic);
  for (let i = 0; i < MAGIC_BYTES; i++) {
    if (object[i] !== wanted[i]) throw corrupt(name, `does not begin with "${magic}"`);
  }
  return object[VERSION_AT]! + object[VERSION_AT + 1]! * 256;
}

/** The seal whose frames also authenticate the envelope's header. */
function bindHeader(seal: ObjectSeal, object: Uint8Array): ObjectSeal {
  const associated = new Uint8Array(seal.associated.length + HEADER_BYTES);
  associated.set(seal.associated, 0);
  associated.set(object.subarray(0, HEADER_BYTES), seal.associated.length);
  return { ...seal, associated };
}

function magicBytes(magic: string): Uint8Array {
  const bytes = new TextEncoder().encode(magic);
  assert(
    bytes.length === MAGIC_BYTES && magic.length === MAGIC_BYTES,
    'magic is 8 ASCII characters',
  );
  return bytes;
}

function corrupt(name: string, why: string): StorageError {
  return new StorageError('corrupt', `${name} ${why}`);
}

// A key slot: the store's data key, wrapped by a passphrase. A store may hold several slots; any
// one opens it.
//
//    0  magic "varvekey"          8        44  KDF salt                   16
//    8  u16 version (1)           2        60  nonce                      12
//   10  u8 KDF (1 = Argon2id)     1        72  u16 label length L          2
//   11  u8 cipher (1 = ChaCha20)  1        74  label, UTF-8                L
//   12  u32 memory, KiB           4     74+L  wrapped data key            32
//   16  u32 passes                4    106+L  tag                         16
//   20  u32 parallelism           4    122+L  SHA-256 of all before it    32
//   24  slot id                  12    154+L  end
//   36  u64 created, ms of 1970   8
//
//   wrapping key    = Argon2id(NFKC(passphrase) in UTF-8, KDF salt, memory, passes, parallelism)
//   associated data = 'varve key slot v1' ‖ length-prefixed store id ‖ bytes 0 .. 74+L
//
// Integers are little-endian. The digest is no protection against an attacker, who can compute it;
// it tells a damaged slot (`corrupt`) from a passphrase that is wrong (`wrongKey`). The tag is the
// protection.

import { argon2, createHash } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { ByteWriter, compareBytes, equalBytes, readU53LE, writeU53LE } from '../base/bytes.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { aeadOpen, aeadSeal } from './aead.ts';
import type { AeadParameters } from './aead.ts';
import { CIPHER_IDS, KEY_BYTES, NONCE_BYTES, SALT_BYTES, TAG_BYTES } from './types.ts';

const MAGIC = new TextEncoder().encode('varvekey');
const AAD_LABEL = new TextEncoder().encode('varve key slot v1');
const VERSION = 1;
const KDF_ARGON2ID = 1;
const CIPHER = 'chacha20-poly1305';

const VERSION_AT = 8;
const KDF_AT = 10;
const CIPHER_AT = 11;
const MEMORY_AT = 12;
const PASSES_AT = 16;
const PARALLELISM_AT = 20;
const ID_AT = 24;
const CREATED_AT = 36;
const SALT_AT = 44;
const NONCE_AT = 60;
const LABEL_LENGTH_AT = 72;
const LABEL_AT = 74;
const ID_BYTES = 12;
const DIGEST_BYTES = 32;
const TRAILER_BYTES = KEY_BYTES + TAG_BYTES + DIGEST_BYTES;

/** A label is a word for people. */
export const LABEL_BYTES_MAX = 256;

/** What deriving the wrapping key costs whoever tries a passphrase. */
export interface KeySlotCost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** RFC 9106's second recommended setting: 64 MiB, three passes, four lanes. About 0.15 s. */
export const DEFAULT_KEY_SLOT_COST: KeySlotCost = { memoryKiB: 65_536, passes: 3, parallelism: 4 };

/** Past these a slot is refused unread: a hostile one must take neither our memory nor our day. */
export const KEY_SLOT_COST_MAX: KeySlotCost = {
  memoryKiB: 1_048_576,
  passes: 32,
  parallelism: 16,
};

/** Argon2 needs 8 KiB of memory for each lane. */
const MEMORY_KIB_PER_LANE_MIN = 8;

export interface KeySlotRequest {
  /** 32 bytes. Borrowed until the call settles. */
  readonly dataKey: Uint8Array;
  readonly passphrase: string;
  readonly storeId: string;
  /** For people, in clear. */
  readonly label: string;
  readonly createdUnixMs: number;
  readonly cost: KeySlotCost;
}

/** What a slot says in clear. */
export interface KeySlotInfo {
  /** 24 hexadecimal digits. */
  readonly id: string;
  readonly label: string;
  readonly createdUnixMs: number;
  readonly cost: KeySlotCost;
}

/** A new slot: its id, which is to be the last part of its object's name, and its bytes. */
export async function createKeySlot(
  rng: Rng,
  request: KeySlotRequest,
): Promise<{ readonly id: string; readonly bytes: Uint8Array }> {
  const { cost, passphrase } = request;
  assert(request.dataKey.length === KEY_BYTES, 'a data key is 32 bytes');
  assert(costAllowed(cost), 'the cost of a slot is within its limits');
  const label = new TextEncoder().encode(request.label);
  if (label.length > LABEL_BYTES_MAX) throw new StorageError('invalid', 'the label is too long');
  const bytes = new Uint8Array(LABEL_AT + label.length + TRAILER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 0);
  view.setUint16(VERSION_AT, VERSION, true);
  bytes[KDF_AT] = KDF_ARGON2ID;
  bytes[CIPHER_AT] = CIPHER_IDS[CIPHER];
  view.setUint32(MEMORY_AT, cost.memoryKiB, true);
  view.setUint32(PASSES_AT, cost.passes, true);
  view.setUint32(PARALLELISM_AT, cost.parallelism, true);
  bytes.set(rng.bytes(ID_BYTES), ID_AT);
  writeU53LE(view, CREATED_AT, request.createdUnixMs);
  bytes.set(rng.bytes(SALT_BYTES), SALT_AT);
  bytes.set(rng.bytes(NONCE_BYTES), NONCE_AT);
  view.setUint16(LABEL_LENGTH_AT, label.length, true);
  bytes.set(label, LABEL_AT);
  const wrapping = await wrappingKey(passphrase, bytes, cost);
  const wrappedAt = LABEL_AT + label.length;
  aeadSeal(parametersOf(wrapping, request.storeId, bytes), request.dataKey, bytes, wrappedAt);
  wrapping.fill(0);
  bytes.set(digestOf(bytes), bytes.length - DIGEST_BYTES);
  return { id: idOf(bytes), bytes };
}

/** What `bytes` says in clear; `corrupt` when it is damaged or no slot of a known version. */
export function readKeySlot(bytes: Uint8Array): KeySlotInfo {
  if (bytes.length < LABEL_AT + TRAILER_BYTES) throw corrupt('ends early');
  if (compareBytes(bytes.subarray(0, MAGIC.length), MAGIC) !== 0)
    throw corrupt('has a wrong magic');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(VERSION_AT, true);
  if (version !== VERSION) throw corrupt(`has unknown version ${version}; is this varve too old?`);
  const labelLength = view.getUint16(LABEL_LENGTH_AT, true);
  if (bytes.length !== LABEL_AT + labelLength + TRAILER_BYTES) throw corrupt('has a wrong length');
  if (!equalBytes(digestOf(bytes), bytes.subarray(bytes.length - DIGEST_BYTES))) {
    throw corrupt('is damaged: its digest does not match');
  }
  if (bytes[KDF_AT] !== KDF_ARGON2ID) throw corrupt(`names unknown KDF ${bytes[KDF_AT]}`);
  if (bytes[CIPHER_AT] !== CIPHER_IDS[CIPHER]) throw corrupt(`has cipher ${bytes[CIPHER_AT]}`);
  const cost = {
    memoryKiB: view.getUint32(MEMORY_AT, true),
    passes: view.getUint32(PASSES_AT, true),
    parallelism: view.getUint32(PARALLELISM_AT, true),
  };
  if (!costAllowed(cost)) {
    const { memoryKiB, passes, parallelism } = cost;
    throw corrupt(`asks for ${memoryKiB} KiB, ${passes} passes, ${parallelism} lanes: refused`);
  }
  const label = new TextDecoder().decode(bytes.subarray(LABEL_AT, LABEL_AT + labelLength));
  return { id: idOf(bytes), label, createdUnixMs: readU53LE(view, CREATED_AT), cost };
}

/** The data key, owned by the caller. `wrongKey` when an intact slot refuses the passphrase. */
export async function openKeySlot(
  bytes: Uint8Array,
  passphrase: string,
  storeId: string,
): Promise<Uint8Array> {
  const { id, cost } = readKeySlot(bytes);
  const wrapping = await wrappingKey(passphrase, bytes, cost);
  const wrappedAt = bytes.length - TRAILER_BYTES;
  const wrapped = bytes.subarray(wrappedAt, wrappedAt + KEY_BYTES + TAG_BYTES);
  const dataKey = aeadOpen(parametersOf(wrapping, storeId, bytes), wrapped);
  wrapping.fill(0);
  if (dataKey === undefined) {
    throw new StorageError('wrongKey', `the passphrase does not open key slot ${id}`);
  }
  return Uint8Array.from(dataKey);
}

/**
 * The data key from the first slot that opens, tried one at a time: each takes its memory.
 * `wrongKey` when every intact slot refuses, `corrupt` when none is intact.
 */
export async function openAnyKeySlot(
  slots: readonly Uint8Array[],
  passphrase: string,
  storeId: string,
): Promise<Uint8Array> {
  let refused = 0;
  let damage: unknown;
  for (const slot of slots) {
    try {
      return await openKeySlot(slot, passphrase, storeId);
    } catch (error) {
      if (isStorageError(error, 'wrongKey')) refused += 1;
      else if (isStorageError(error, 'corrupt')) damage = error;
      else throw error;
    }
  }
  if (refused > 0) {
    const message = `the passphrase opens none of ${refused} key slots; check it and try again`;
    throw new StorageError('wrongKey', message, { cause: damage });
  }
  const message = `none of the store's ${slots.length} key slots is intact`;
  throw new StorageError('corrupt', message, { cause: damage });
}

/** Argon2id in the thread pool: it takes tenths of a second. */
function wrappingKey(passphrase: string, slot: Uint8Array, cost: KeySlotCost): Promise<Uint8Array> {
  const parameters = {
    message: normalised(passphrase),
    nonce: slot.subarray(SALT_AT, SALT_AT + SALT_BYTES),
    memory: cost.memoryKiB,
    passes: cost.passes,
    parallelism: cost.parallelism,
    tagLength: KEY_BYTES,
  };
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, key) => {
      if (error === null) resolve(key);
      else reject(new StorageError('unavailable', 'Argon2id failed', { cause: error }));
    });
  });
}

/** The same words typed on two keyboards are the same bytes. */
function normalised(passphrase: string): Uint8Array {
  if (passphrase.length === 0) throw new StorageError('invalid', 'the passphrase is empty');
  if (!passphrase.isWellFormed()) {
    throw new StorageError('invalid', 'the passphrase is not valid Unicode text');
  }
  return new TextEncoder().encode(passphrase.normalize('NFKC'));
}

function parametersOf(key: Uint8Array, storeId: string, slot: Uint8Array): AeadParameters {
  const associated = new ByteWriter();
  associated.bytes(AAD_LABEL);
  associated.text(storeId);
  associated.bytes(slot.subarray(0, slot.length - TRAILER_BYTES));
  const nonce = slot.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES);
  return { cipher: CIPHER, key, nonce, associated: associated.finish() };
}

function costAllowed(cost: KeySlotCost): boolean {
  const { memoryKiB, passes, parallelism } = cost;
  return (
    parallelism >= 1 &&
    passes >= 1 &&
    memoryKiB >= MEMORY_KIB_PER_LANE_MIN * parallelism &&
    memoryKiB <= KEY_SLOT_COST_MAX.memoryKiB &&
    passes <= KEY_SLOT_COST_MAX.passes &&
    parallelism <= KEY_SLOT_COST_MAX.parallelism
  );
}

function digestOf(slot: Uint8Array): Uint8Array {
  const covered = slot.subarray(0, slot.length - DIGEST_BYTES);
  return createHash('sha256').update(covered).digest();
}

function idOf(slot: Uint8Array): string {
  return Buffer.from(slot.subarray(ID_AT, ID_AT + ID_BYTES)).toString('hex');
}

function corrupt(why: string): StorageError {
  return new StorageError('corrupt', `the key slot ${why}`);
}

// From the store's data key to the key of one object.
//
//   key        = HKDF-SHA256(ikm = data key, salt = the object's 16 random bytes, info, 32 bytes)
//   info       = 'varve object key v1' ‖ cipher id u8 ‖ associated
//   associated = length-prefixed store id ‖ length-prefixed object name     (UTF-8, LEB128 lengths)
//
// Every object has its own key, so a frame's number in its object is nonce enough. The name is in
// `info` as well as in every frame's associated data: a salt that repeats (a virtual machine rolled
// back to an older state) still gives two objects two keys. One name must never be sealed twice
// with one salt.

import { hkdfSync } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { ByteWriter } from '../base/bytes.ts';
import { CIPHER_IDS, KEY_BYTES, SALT_BYTES } from './types.ts';
import type { CipherName, ObjectSeal } from './types.ts';

const OBJECT_KEY_LABEL = new TextEncoder().encode('varve object key v1');

/**
 * HKDF's `info` is at most 1024 bytes in node:crypto: this leaves room for the label and two
 * lengths.
 */
export const NAMES_BYTES_MAX = 960;

export interface KeyringOptions {
  /** 32 bytes. Copied. */
  readonly dataKey: Uint8Array;
  readonly storeId: string;
  /** What new objects are sealed with. */
  readonly cipher: CipherName;
}

export interface Keyring {
  /** What new objects are sealed with. */
  readonly cipher: CipherName;
  /**
   * The seal of one object. `objectName` is relative to the store's prefix, so that a store can be
   * copied to another place. `cipher` is what the object says it was sealed with; left out for new
   * objects.
   */
  sealFor(objectName: string, salt: Uint8Array, cipher?: CipherName): ObjectSeal;
}

export function createKeyring(options: KeyringOptions): Keyring {
  const { storeId } = options;
  const dataKey = Uint8Array.from(options.dataKey);
  assert(dataKey.length === KEY_BYTES, 'a data key is 32 bytes');
  assert(storeId.length > 0, 'a store has an id');
  return {
    cipher: options.cipher,
    sealFor(objectName, salt, cipher = options.cipher) {
      assert(salt.length === SALT_BYTES, 'an object salt is 16 bytes');
      const associated = associatedNames(storeId, objectName);
      const info = new ByteWriter();
      info.bytes(OBJECT_KEY_LABEL);
      info.u8(CIPHER_IDS[cipher]);
      info.bytes(associated);
      const key = new Uint8Array(hkdfSync('sha256', dataKey, salt, info.view(), KEY_BYTES));
      return { cipher, key, associated, objectName };
    },
  };
}

/**
 * Owned bytes. Self-delimiting: no two pairs of names give the same bytes, nor one a prefix of
 * another.
 */
function associatedNames(storeId: string, objectName: string): Uint8Array {
  const writer = new ByteWriter(128);
  writer.text(storeId);
  writer.text(objectName);
  assert(writer.length <= NAMES_BYTES_MAX, 'store id and object name fit 960 bytes together');
  return writer.finish();
}

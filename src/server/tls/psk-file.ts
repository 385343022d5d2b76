// Pre-shared keys as psktool of GnuTLS writes them, and as nbdkit, qemu and libnbd read them: one
// `IDENTITY:HEX` on a line.
//
// A complaint names the line, never what is on it.

import { StorageError } from '../../base/errors.ts';

/** 128 bits: a shorter key can be guessed from one recorded handshake. */
const KEY_BYTES_MIN = 16;
/** RFC 4279, section 5.3: what every implementation takes. */
const KEY_BYTES_MAX = 64;
const IDENTITY_BYTES_MAX = 128;

/** Keys by identity. Throws `invalid`. */
export function parsePskFile(name: string, text: string): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>();
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const refuse = (why: string): StorageError =>
      new StorageError('invalid', `${name}:${index + 1}: ${why}`);
    const match = /^(.+):((?:[0-9a-f]{2})+)$/i.exec(trimmed);
    if (match === null) throw refuse('a line must be IDENTITY:KEY, with the key in hexadecimal');
    const [, identity = '', hex = ''] = match;
    const key = Buffer.from(hex, 'hex');
    if (Buffer.byteLength(identity) > IDENTITY_BYTES_MAX) {
      throw refuse(`an identity has at most ${IDENTITY_BYTES_MAX} bytes`);
    }
    if (key.length < KEY_BYTES_MIN || key.length > KEY_BYTES_MAX) {
      throw refuse(`a key has ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes, two digits each`);
    }
    if (keys.has(identity)) throw refuse('this identity has a key already');
    keys.set(identity, key);
  }
  if (keys.size === 0) throw new StorageError('invalid', `${name}: there is no key in it`);
  return keys;
}

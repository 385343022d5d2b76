// One call of an AEAD with a 12-byte nonce and a 16-byte tag, over node:crypto (OpenSSL).
//
// node:crypto cannot write into a buffer of the caller's: `update` allocates its output. Nothing of
// an opened text is handed out before its tag has been checked.

import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { CipherGCM, CipherChaCha20Poly1305 } from 'node:crypto';
import type { DecipherGCM, DecipherChaCha20Poly1305 } from 'node:crypto';
import { TAG_BYTES } from './types.ts';
import type { CipherName } from './types.ts';

const OPTIONS = { authTagLength: TAG_BYTES } as const;

export interface AeadParameters {
  readonly cipher: CipherName;
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
}

/**
 * Encrypts `plaintext` to `target` at `targetAt`: as many bytes of ciphertext, then the 16-byte
 * tag.
 */
export function aeadSeal(
  parameters: AeadParameters,
  plaintext: Uint8Array,
  target: Uint8Array,
  targetAt: number,
): void {
  const cipher = createSealing(parameters);
  cipher.setAAD(parameters.associated);
  if (plaintext.length > 0) target.set(cipher.update(plaintext), targetAt);
  // Both ciphers are stream modes: `final` has no bytes left, it only completes the tag.
  cipher.final();
  target.set(cipher.getAuthTag(), targetAt + plaintext.length);
}

/**
 * The plaintext of `sealed` (ciphertext, then tag), owned by the caller, or undefined if it was
 * altered.
 */
export function aeadOpen(parameters: AeadParameters, sealed: Uint8Array): Uint8Array | undefined {
  const plainLength = sealed.length - TAG_BYTES;
  if (plainLength < 0) return undefined;
  const decipher = createOpening(parameters);
  decipher.setAAD(parameters.associated);
  decipher.setAuthTag(sealed.subarray(plainLength));
  const plaintext =
    plainLength > 0 ? decipher.update(sealed.subarray(0, plainLength)) : new Uint8Array(0);
  try {
    decipher.final();
  } catch {
    // The one thing that `final` of these ciphers can refuse is the tag.
    return undefined;
  }
  return plaintext;
}

function createSealing(parameters: AeadParameters): CipherGCM | CipherChaCha20Poly1305 {
  const { cipher, key, nonce } = parameters;
  if (cipher === 'aes-256-gcm') return createCipheriv(cipher, key, nonce, OPTIONS);
  return createCipheriv(cipher, key, nonce, OPTIONS);
}

function createOpening(parameters: AeadParameters): DecipherGCM | DecipherChaCha20Poly1305 {
  const { cipher, key, nonce } = parameters;
  if (cipher === 'aes-256-gcm') return createDecipheriv(cipher, key, nonce, OPTIONS);
  return createDecipheriv(cipher, key, nonce, OPTIONS);
}

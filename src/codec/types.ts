// The vocabulary of sealing: which ciphers, which compressions, and their numbers on the wire. The
// numbers are stored: never reuse or change one, only add.

import { StorageError } from '../base/errors.ts';

export type CipherName = 'chacha20-poly1305' | 'aes-256-gcm';

export type CompressionName = 'lz4' | 'zstd' | 'none';

export const CIPHER_IDS: Readonly<Record<CipherName, number>> = {
  'chacha20-poly1305': 1,
  'aes-256-gcm': 2,
};

export const COMPRESSION_IDS: Readonly<Record<CompressionName, number>> = {
  none: 0,
  lz4: 1,
  zstd: 2,
};

/**
 * The cipher of a stored number, found in `what`; `corrupt` for one that this version does not
 * know.
 */
export function cipherFromId(id: number, what = 'an object'): CipherName {
  if (id === CIPHER_IDS['chacha20-poly1305']) return 'chacha20-poly1305';
  if (id === CIPHER_IDS['aes-256-gcm']) return 'aes-256-gcm';
  throw new StorageError('corrupt', `${what} names unknown cipher ${id}; is this varve too old?`);
}

/** The compression of a stored number, or undefined for one that this version does not know. */
export function compressionOfId(id: number): CompressionName | undefined {
  if (id === COMPRESSION_IDS.lz4) return 'lz4';
  if (id === COMPRESSION_IDS.zstd) return 'zstd';
  if (id === COMPRESSION_IDS.none) return 'none';
  return undefined;
}

export const KEY_BYTES = 32;
export const SALT_BYTES = 16;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/**
 * Everything that sealing or opening the frames of one object takes. Plain data: it crosses
 * threads.
 */
export interface ObjectSeal {
  readonly cipher: CipherName;
  /** 32 bytes, of this object alone. */
  readonly key: Uint8Array;
  /** Bytes that every frame of the object authenticates: the store and the object's name. */
  readonly associated: Uint8Array;
  /** For error messages. */
  readonly objectName: string;
}

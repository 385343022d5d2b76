// A log object: sealed data frames, the sealed record of their commits, a clear footer.
//
//   frame 0 │ frame 1 │ … │ record (one sealed frame) │ footer (64 bytes)
//
//   footer  0  magic "VARVELOG"
//           8  u16 version (1)
//          10  u8 cipher                    of every frame in the object
//          11  u8 reserved, 0
//          12  u32 sealed length of the record
//          16  u64 length of the whole object
//          24  salt (16)                    of the object's key
//          40  reserved, 0 (8)
//          48  tag (16)                     authenticates bytes 0..48 for this very name
//
// The footer is last, so that recovery reads a suffix and never the data. All integers are
// little-endian.

import { readU53LE, writeU53LE } from '../../base/bytes.ts';
import { StorageError } from '../../base/errors.ts';
import {
  authenticate,
  FRAME_PLAIN_BYTES_MAX,
  FrameKind,
  openFrame,
  verifyAuthentic,
} from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import {
  CIPHER_IDS,
  cipherFromId,
  SALT_BYTES,
  type CipherName,
  type ObjectSeal,
} from '../../codec/types.ts';

export const FOOTER_BYTES = 64;
const CLEAR_BYTES = 48;
const VERSION = 1;
const MAGIC = new TextEncoder().encode('VARVELOG');

export interface Footer {
  readonly cipher: CipherName;
  readonly salt: Uint8Array;
  readonly recordBytes: number;
  readonly objectBytes: number;
}

/**
 * Writes the footer at `target[at .. at + 64)`. `seal` must be of the object's own name and salt.
 */
export function writeFooter(
  target: Uint8Array,
  at: number,
  footer: Footer,
  seal: ObjectSeal,
): void {
  const view = new DataView(target.buffer, target.byteOffset + at, FOOTER_BYTES);
  target.fill(0, at, at + FOOTER_BYTES);
  target.set(MAGIC, at);
  view.setUint16(8, VERSION, true);
  view.setUint8(10, CIPHER_IDS[footer.cipher]);
  view.setUint32(12, footer.recordBytes, true);
  writeU53LE(view, 16, footer.objectBytes);
  target.set(footer.salt, at + 24);
  const clear = target.subarray(at, at + CLEAR_BYTES);
  authenticate(
    seal,
    FrameKind.footer,
    0,
    clear,
    target.subarray(at + CLEAR_BYTES, at + FOOTER_BYTES),
  );
}

/**
 * Reads the footer at the end of `suffix` and checks it against the object's name and size.
 * Anything but what `writeFooter` wrote for this name is `corrupt`.
 */
export function readFooter(
  suffix: Uint8Array,
  objectBytes: number,
  name: string,
  keyring: Keyring,
): { readonly footer: Footer; readonly seal: ObjectSeal } {
  if (suffix.length < FOOTER_BYTES) throw new StorageError('corrupt', `${name} is too short`);
  const at = suffix.length - FOOTER_BYTES;
  const view = new DataView(suffix.buffer, suffix.byteOffset + at, FOOTER_BYTES);
  for (let i = 0; i < MAGIC.length; i++) {
    if (suffix[at + i] !== MAGIC[i]) throw new StorageError('corrupt', `${name} is no log object`);
  }
  const version = view.getUint16(8, true);
  if (version !== VERSION) {
    throw new StorageError('corrupt', `${name} has unknown version ${version}; is varve too old?`);
  }
  const cipher = cipherFromId(view.getUint8(10));
  const salt = suffix.slice(at + 24, at + 24 + SALT_BYTES);
  const seal = keyring.sealFor(name, salt, cipher);
  const clear = suffix.subarray(at, at + CLEAR_BYTES);
  verifyAuthentic(seal, FrameKind.footer, 0, clear, suffix.subarray(at + CLEAR_BYTES));
  const footer = {
    cipher,
    salt,
    recordBytes: view.getUint32(12, true),
    objectBytes: readU53LE(view, 16),
  };
  if (footer.objectBytes !== objectBytes) {
    throw new StorageError(
      'corrupt',
      `${name} has ${objectBytes} bytes, it was written with ${footer.objectBytes}`,
    );
  }
  return { footer, seal };
}

/** Unseals the record; `sealed` are its bytes in the object. Owned result. */
export function openRecord(seal: ObjectSeal, sealed: Uint8Array): Uint8Array {
  return openFrame(seal, FrameKind.records, 0, sealed, FRAME_PLAIN_BYTES_MAX);
}

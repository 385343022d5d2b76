// The fixed-size end of a table object, in clear but authenticated. It holds counts and sizes, no
// keys.
//
//   0   8   magic "varveTBL"
//   8   2   version u16 = 1
//   10  1   cipher
//   11  1   0
//   12  16  salt of the object's key
//   28  8   size of the whole object
//   36  8   entries
//   44  4   blocks
//   48  4   sealed bytes of the filter
//   52  4   sealed bytes of the index
//   56  16  tag over the 56 bytes before it: kind footer, index 0            integers little-endian
//
// The tag binds the store, the object's name (keyring) and, through the size, every byte position.

import { readU53LE, writeU53LE } from '../../base/bytes.ts';
import { StorageError } from '../../base/errors.ts';
import { authenticate, FrameKind, verifyAuthentic } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import { CIPHER_IDS, cipherFromId, SALT_BYTES, TAG_BYTES } from '../../codec/types.ts';
import type { ObjectSeal } from '../../codec/types.ts';

const MAGIC = new TextEncoder().encode('varveTBL');
const VERSION = 1;
const SALT_AT = 12;
const TAG_AT = 56;

export const FOOTER_BYTES = TAG_AT + TAG_BYTES;

export interface TableFooter {
  readonly salt: Uint8Array;
  readonly objectBytes: number;
  readonly entries: number;
  readonly blockCount: number;
  readonly filterBytes: number;
  readonly indexBytes: number;
}

/** Owned bytes. */
export function encodeFooter(footer: TableFooter, seal: ObjectSeal): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 0);
  view.setUint16(8, VERSION, true);
  bytes[10] = CIPHER_IDS[seal.cipher];
  bytes.set(footer.salt, SALT_AT);
  writeU53LE(view, 28, footer.objectBytes);
  writeU53LE(view, 36, footer.entries);
  view.setUint32(44, footer.blockCount, true);
  view.setUint32(48, footer.filterBytes, true);
  view.setUint32(52, footer.indexBytes, true);
  authenticate(seal, FrameKind.footer, 0, bytes.subarray(0, TAG_AT), bytes.subarray(TAG_AT));
  return bytes;
}

/** Decodes and authenticates exactly FOOTER_BYTES bytes. The salt is a copy. */
export function decodeFooter(
  bytes: Uint8Array,
  objectName: string,
  keyring: Keyring,
): { readonly footer: TableFooter; readonly seal: ObjectSeal } {
  if (bytes.length !== FOOTER_BYTES) {
    throw new StorageError('corrupt', `the footer of ${objectName} ends early`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new StorageError('corrupt', `${objectName} is not a table`);
  }
  const version = view.getUint16(8, true);
  if (version !== VERSION || bytes[11] !== 0) {
    throw new StorageError('corrupt', `${objectName} has the unknown table version ${version}`);
  }
  const salt = new Uint8Array(bytes.subarray(SALT_AT, SALT_AT + SALT_BYTES));
  const seal = keyring.sealFor(objectName, salt, cipherFromId(bytes[10]!));
  const tag = bytes.subarray(TAG_AT);
  verifyAuthentic(seal, FrameKind.footer, 0, bytes.subarray(0, TAG_AT), tag);
  const footer: TableFooter = {
    salt,
    objectBytes: readU53LE(view, 28),
    entries: readU53LE(view, 36),
    blockCount: view.getUint32(44, true),
    filterBytes: view.getUint32(48, true),
    indexBytes: view.getUint32(52, true),
  };
  return { footer, seal };
}

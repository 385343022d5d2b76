// The decoded plaintext of one block: some 16 KiB of entries in ascending key order.
//
//   block   = entry × n | u32 restart × r | u32 r                        integers little-endian
//   entry   = head | varint valueBytes | key suffix | value
//   head    = u8 shared << 4 | unshared          both below 15
//           | u8 0xff, varint shared, varint unshared
//   restart = offset of an entry that stores its whole key (shared = 0): the first, and every 16th
//
// `shared` counts the bytes a key has in common with the key before it. The bytes were
// authenticated before they come here, so a violation is a bug of the writer; it is still found
// (`corrupt`) and never read past the block.

import { StorageError } from '../../base/errors.ts';
import { LONG_HEAD } from './block-builder.ts';

export class Block {
  readonly bytes: Uint8Array;
  /** Where the entries end and the restart points begin. */
  readonly entriesEnd: number;
  readonly #restartCount: number;
  readonly #objectName: string;
  /** Where the last varint ended: a result beside the returned value, without allocating a pair. */
  #at = 0;

  /** Keeps `bytes`. */
  constructor(bytes: Uint8Array, objectName: string) {
    this.bytes = bytes;
    this.#objectName = objectName;
    const restartCount = bytes.length < 8 ? 0 : this.#u32(bytes.length - 4);
    this.#restartCount = restartCount;
    this.entriesEnd = bytes.length - 4 - restartCount * 4;
    if (restartCount === 0 || this.entriesEnd <= 0) throw this.corrupt();
  }

  /** Memory it takes, for the cache's budget. */
  get byteLength(): number {
    return this.bytes.length;
  }

  corrupt(): StorageError {
    return new StorageError('corrupt', `a block of ${this.#objectName} makes no sense`);
  }

  /** The value of `key`: a view of this block, never to be changed. */
  get(key: Uint8Array): Uint8Array | undefined {
    const bytes = this.bytes;
    let at = this.restartBefore(key);
    // How many bytes of `key` the entry before has in common with it. Entries before `at` are all
    // smaller.
    let matched = 0;
    while (at < this.entriesEnd) {
      const head = bytes[at]!;
      let shared = head >>> 4;
      let unshared = head & 15;
      at += 1;
      if (head === LONG_HEAD) {
        shared = this.varint(at);
        unshared = this.varint(this.#at);
        at = this.#at;
      }
      let valueBytes = bytes[at]!;
      at += 1;
      if (valueBytes >= 128) {
        valueBytes = this.varint(at - 1);
        at = this.#at;
      }
      const valueAt = at + unshared;
      if (valueAt + valueBytes > this.entriesEnd) throw this.corrupt();
      // It differs from the entry before where that one still agreed with `key`, so it is greater.
      if (shared < matched) return undefined;
      if (shared === matched) {
        while (at < valueAt && matched < key.length && bytes[at] === key[matched]) {
          at += 1;
          matched += 1;
        }
        if (matched === key.length) {
          return at === valueAt ? bytes.subarray(valueAt, valueAt + valueBytes) : undefined;
        }
        if (at < valueAt && bytes[at]! > key[matched]!) return undefined;
      }
      at = valueAt + valueBytes;
    }
    return undefined;
  }

  /** Offset of the last restart point whose key is ≤ `key`, or of the first one. */
  restartBefore(key: Uint8Array): number {
    let low = 0;
    let high = this.#restartCount;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#compareRestart(middle, key) <= 0) low = middle;
      else high = middle;
    }
    return this.#restart(low);
  }

  /** Sign of (key at restart point `index`) − `key`. */
  #compareRestart(index: number, key: Uint8Array): number {
    const bytes = this.bytes;
    let at = this.#restart(index);
    const head = bytes[at]!;
    let unshared = head & 15;
    at += 1;
    if (head === LONG_HEAD) {
      this.varint(at);
      unshared = this.varint(this.#at);
      at = this.#at;
    }
    if (bytes[at]! < 128) {
      at += 1;
    } else {
      this.varint(at);
      at = this.#at;
    }
    if (at + unshared > this.entriesEnd) throw this.corrupt();
    const length = Math.min(unshared, key.length);
    for (let i = 0; i < length; i++) {
      const difference = bytes[at + i]! - key[i]!;
      if (difference !== 0) return difference;
    }
    return unshared - key.length;
  }

  #restart(index: number): number {
    const at = this.#u32(this.entriesEnd + index * 4);
    if (at >= this.entriesEnd) throw this.corrupt();
    return at;
  }

  #u32(at: number): number {
    const bytes = this.bytes;
    const low = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    return (low | (bytes[at + 3]! << 24)) >>> 0;
  }

  /** Decodes the varint at `from`, at most 4 bytes long; `varintEnd` is where it ended. */
  varint(from: number): number {
    let value = 0;
    for (let i = 0; i < 4 && from + i < this.entriesEnd; i++) {
      const byte = this.bytes[from + i]!;
      value |= (byte & 127) << (7 * i);
      if (byte < 128) {
        this.#at = from + i + 1;
        return value;
      }
    }
    throw this.corrupt();
  }

  get varintEnd(): number {
    return this.#at;
  }
}

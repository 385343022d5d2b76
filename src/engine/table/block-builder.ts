// Builds the plaintext of one block (layout: block.ts). The buffer is kept from block to block.

import { assert } from '../../base/assert.ts';
import { copyBytes } from './cursor.ts';

/**
 * A key is stored whole at every 16th entry: a lookup decodes at most 16 entries after its binary
 * search.
 */
export const RESTART_INTERVAL = 16;

/** Head byte that says "two varints follow" instead of two lengths below 15. */
export const LONG_HEAD = 0xff;

/** Most bytes an entry takes beside its key and value: head, two varints, the value's varint. */
const HEAD_BYTES_MAX = 1 + 4 + 4 + 4;

export class BlockBuilder {
  #bytes: Uint8Array;
  #restarts: number[] = [];
  #length = 0;
  #count = 0;
  /** Owned copy of the last key. The view is replaced only when the length changes. */
  #lastKey: Uint8Array;
  #lastKeyBuffer: Uint8Array;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#lastKeyBuffer = new Uint8Array(64);
    this.#lastKey = this.#lastKeyBuffer.subarray(0, 0);
  }

  get count(): number {
    return this.#count;
  }

  /** Plaintext bytes if the block ended here. */
  get byteLength(): number {
    return this.#length + this.#restarts.length * 4 + 4;
  }

  /** Borrowed until the next `add`. Survives `reset`: order and separators span blocks. */
  get lastKey(): Uint8Array {
    return this.#lastKey;
  }

  /** Most bytes by which `add` would lengthen the block. */
  static entryBytesMax(key: Uint8Array, value: Uint8Array): number {
    return HEAD_BYTES_MAX + key.length + value.length + 4;
  }

  add(key: Uint8Array, value: Uint8Array): void {
    this.#reserve(BlockBuilder.entryBytesMax(key, value));
    let shared = 0;
    if (this.#count % RESTART_INTERVAL === 0) {
      this.#restarts.push(this.#length);
    } else {
      shared = sharedPrefix(this.#lastKey, key);
    }
    const unshared = key.length - shared;
    if (shared < 15 && unshared < 15) {
      this.#bytes[this.#length++] = (shared << 4) | unshared;
    } else {
      this.#bytes[this.#length++] = LONG_HEAD;
      this.#varint(shared);
      this.#varint(unshared);
    }
    this.#varint(value.length);
    for (let i = shared; i < key.length; i++) this.#bytes[this.#length++] = key[i]!;
    copyBytes(this.#bytes, this.#length, value);
    this.#length += value.length;
    this.#count += 1;
    this.#keepKey(key, shared);
  }

  /** Appends the restart points; the block is complete. Borrowed until `reset`. */
  finish(): Uint8Array {
    assert(this.#count > 0, 'a block has at least one entry');
    this.#reserve(this.#restarts.length * 4 + 4);
    for (const restart of this.#restarts) this.#u32(restart);
    this.#u32(this.#restarts.length);
    return this.#bytes.subarray(0, this.#length);
  }

  reset(): void {
    this.#length = 0;
    this.#count = 0;
    this.#restarts.length = 0;
  }

  #reserve(count: number): void {
    const need = this.#length + count;
    if (need <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  #u32(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.#bytes[this.#length++] = value >>> shift;
  }

  #keepKey(key: Uint8Array, shared: number): void {
    if (key.length !== this.#lastKey.length) {
      if (key.length > this.#lastKeyBuffer.length) {
        const grown = new Uint8Array(key.length * 2);
        grown.set(this.#lastKey);
        this.#lastKeyBuffer = grown;
      }
      this.#lastKey = this.#lastKeyBuffer.subarray(0, key.length);
    }
    for (let i = shared; i < key.length; i++) this.#lastKey[i] = key[i]!;
  }
}

/** How many bytes `a` and `b` have in common at their start. */
export function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < length && a[shared] === b[shared]) shared += 1;
  return shared;
}

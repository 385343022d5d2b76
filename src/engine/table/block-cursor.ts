// Walks the entries of blocks, one block after another, rebuilding keys in a buffer of its own.

import { compareBytes } from '../../base/bytes.ts';
import { LONG_HEAD } from './block-builder.ts';
import type { Block } from './block.ts';

const NOTHING = new Uint8Array(0);

export class BlockCursor {
  #block: Block | undefined;
  #at = 0;
  #valueAt = 0;
  #keyBuffer = new Uint8Array(64);
  /** True when `seek` went one entry ahead, which the next `next` hands out. */
  #held = false;
  /** Borrowed until the next call. The view is replaced only when the length changes. */
  key: Uint8Array = NOTHING;

  /** A view of the block. */
  get value(): Uint8Array {
    return this.#block === undefined
      ? NOTHING
      : this.#block.bytes.subarray(this.#valueAt, this.#at);
  }

  /** Goes before the first entry of `block`. */
  enter(block: Block): void {
    this.#block = block;
    this.#at = 0;
    this.#held = false;
  }

  /** Goes before the first entry of `block` whose key is ≥ `from`. */
  seek(block: Block, from: Uint8Array): void {
    this.enter(block);
    this.#at = block.restartBefore(from);
    while (this.next()) {
      if (compareBytes(this.key, from) >= 0) {
        this.#held = true;
        return;
      }
    }
  }

  /** False at the end of the block. */
  next(): boolean {
    if (this.#held) {
      this.#held = false;
      return true;
    }
    const block = this.#block;
    if (block === undefined || this.#at >= block.entriesEnd) return false;
    const bytes = block.bytes;
    let at = this.#at;
    const head = bytes[at]!;
    let shared = head >>> 4;
    let unshared = head & 15;
    at += 1;
    if (head === LONG_HEAD) {
      shared = block.varint(at);
      unshared = block.varint(block.varintEnd);
      at = block.varintEnd;
    }
    let valueBytes = bytes[at]!;
    at += 1;
    if (valueBytes >= 128) {
      valueBytes = block.varint(at - 1);
      at = block.varintEnd;
    }
    const valueAt = at + unshared;
    if (valueAt + valueBytes > block.entriesEnd || shared > this.key.length) throw block.corrupt();
    this.#resizeKey(shared + unshared);
    for (let i = shared; at < valueAt; i++, at++) this.key[i] = bytes[at]!;
    this.#valueAt = valueAt;
    this.#at = valueAt + valueBytes;
    return true;
  }

  #resizeKey(length: number): void {
    if (length === this.key.length) return;
    if (length > this.#keyBuffer.length) {
      const grown = new Uint8Array(length * 2);
      grown.set(this.key);
      this.#keyBuffer = grown;
    }
    this.key = this.#keyBuffer.subarray(0, length);
  }
}

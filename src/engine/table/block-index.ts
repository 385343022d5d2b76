// The index of a table: for each block the smallest key that tells it from the block before, and
// where it lies.
//
//   plaintext = varint blockCount | varint n, lastKey | item × blockCount
//   item      = varint shared | varint unshared | suffix | varint sealedBytes | varint plainBytes
//
// Shared and suffix give the block's separator, as keys are given in a block.
//
// The separator of block i is > every key of block i-1 and ≤ every key of block i; that of block 0
// is empty. Blocks lie one after another from offset 0, so offsets are sums.

import { assert } from '../../base/assert.ts';
import { ByteReader, ByteWriter, compareBytes } from '../../base/bytes.ts';
import { sharedPrefix } from './block-builder.ts';
import { TABLE_BYTES_MAX } from './settings.ts';

/** Collects separators while blocks are cut, sealed lengths when they are known. */
export class IndexBuilder {
  readonly #separators: Uint8Array[] = [];
  readonly #plainBytes: number[] = [];

  get blockCount(): number {
    return this.#separators.length;
  }

  /** `lastBefore`: the last key of the block before, if there is one. Copies what it keeps. */
  addBlock(lastBefore: Uint8Array | undefined, firstKey: Uint8Array): void {
    const length = lastBefore === undefined ? 0 : sharedPrefix(lastBefore, firstKey) + 1;
    this.#separators.push(new Uint8Array(firstKey.subarray(0, length)));
  }

  /** The block that `addBlock` began ended with so many bytes of plaintext. */
  endBlock(plainBytes: number): void {
    this.#plainBytes.push(plainBytes);
    assert(this.#plainBytes.length === this.#separators.length, 'a block ends before the next one');
  }

  finish(sealedBytes: readonly number[], lastKey: Uint8Array): Uint8Array {
    const count = this.#separators.length;
    assert(sealedBytes.length === count, 'every block was sealed');
    assert(this.#plainBytes.length === count, 'every block has ended');
    const out = new ByteWriter(count * 24 + 64);
    out.varint(count);
    out.lengthPrefixed(lastKey);
    let before: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < count; i++) {
      const separator = this.#separators[i]!;
      const shared = sharedPrefix(before, separator);
      out.varint(shared);
      out.lengthPrefixed(separator.subarray(shared));
      out.varint(sealedBytes[i]!);
      out.varint(this.#plainBytes[i]!);
      before = separator;
    }
    return out.finish();
  }
}

/** A decoded index: separators packed in one array, so that a search touches no other objects. */
export class BlockIndex {
  readonly blockCount: number;
  readonly lastKey: Uint8Array;
  /** Where the blocks end in the object. */
  readonly dataBytes: number;
  readonly #keys: Uint8Array;
  readonly #keyEnds: Uint32Array;
  readonly #sealedEnds: Uint32Array;
  readonly #plainBytes: Uint32Array;

  constructor(plaintext: Uint8Array, objectName: string) {
    const reader = new ByteReader(plaintext, `the index of ${objectName}`);
    const count = reader.count(4);
    if (count === 0) throw reader.corrupt('has no blocks');
    this.lastKey = new Uint8Array(reader.lengthPrefixed());
    this.blockCount = count;
    this.#keyEnds = new Uint32Array(count);
    this.#sealedEnds = new Uint32Array(count);
    this.#plainBytes = new Uint32Array(count);
    const keys = new ByteWriter(count * 16);
    let before: Uint8Array = new Uint8Array(0);
    let sealedEnd = 0;
    for (let i = 0; i < count; i++) {
      const shared = reader.varint();
      const suffix = reader.lengthPrefixed();
      if (shared > before.length) throw reader.corrupt('has a separator longer than its bytes');
      const separator = new Uint8Array(shared + suffix.length);
      separator.set(before.subarray(0, shared));
      separator.set(suffix, shared);
      if (i > 0 && compareBytes(before, separator) >= 0) throw reader.corrupt('is out of order');
      const sealed = reader.varint();
      const plain = reader.varint();
      sealedEnd += sealed;
      if (sealed === 0 || sealedEnd >= 2 ** 32 || plain === 0 || plain > TABLE_BYTES_MAX) {
        throw reader.corrupt('has a block of impossible size');
      }
      keys.bytes(separator);
      this.#keyEnds[i] = keys.length;
      this.#sealedEnds[i] = sealedEnd;
      this.#plainBytes[i] = plain;
      before = separator;
    }
    reader.expectEnd();
    this.#keys = keys.finish();
    this.dataBytes = sealedEnd;
  }

  /** Memory it takes, for the cache's budget. */
  get byteLength(): number {
    return this.#keys.length + this.blockCount * 12 + this.lastKey.length;
  }

  sealedStart(block: number): number {
    return block === 0 ? 0 : this.#sealedEnds[block - 1]!;
  }

  sealedEnd(block: number): number {
    return this.#sealedEnds[block]!;
  }

  plainBytes(block: number): number {
    return this.#plainBytes[block]!;
  }

  /** The only block that can hold `key`: the last whose separator is ≤ it. */
  find(key: Uint8Array): number {
    let low = 0;
    let high = this.blockCount;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#compare(middle, key) <= 0) low = middle;
      else high = middle;
    }
    return low;
  }

  /** One past the last block that can hold a key < `to`. */
  findEnd(to: Uint8Array): number {
    const last = this.find(to);
    // A block whose separator is `to` itself holds only keys ≥ `to`.
    return last > 0 && this.#compare(last, to) === 0 ? last : last + 1;
  }

  /** Sign of (separator of `block`) − `key`. */
  #compare(block: number, key: Uint8Array): number {
    const start = block === 0 ? 0 : this.#keyEnds[block - 1]!;
    const size = this.#keyEnds[block]! - start;
    const length = Math.min(size, key.length);
    for (let i = 0; i < length; i++) {
      const difference = this.#keys[start + i]! - key[i]!;
      if (difference !== 0) return difference;
    }
    return size - key.length;
  }
}

// A blocked bloom filter over whole keys: one key's bits all lie in one 64-byte line, so that a
// probe touches one line of the processor's cache.
//
//   plaintext = line × lineCount | u8 probeCount
//   line      = 64 bytes; its bit b is bit (b & 7) of byte (b >> 3)
//
//   line of a key  = floor(hash.line × lineCount / 2^32)
//   bit of probe i = top 9 bits of (hash.bits × 0x9e3779b9^(i+1) mod 2^32)
//
// A filter of zero probes has no lines and lets every key through. The hash below is part of the
// stored format.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { StorageError } from '../../base/errors.ts';

const LINE_BYTES = 64;
const LINE_BITS_SHIFT = 32 - 9; // 512 bits in a line
const GOLDEN = 0x9e3779b9;
const PROBES_MAX = 16;
const TWO_32 = 2 ** 32;

/** About two milliseconds of work. */
const SLICE_KEYS = 32 * 1024;

/** Two independent 32-bit halves: one chooses the line, the other the bits in it. */
export interface KeyHash {
  line: number;
  bits: number;
}

function rotate(value: number, count: number): number {
  return (value << count) | (value >>> (32 - count));
}

/** Spreads every input bit over all 32. */
function avalanche(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x7feb352d);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x846ca68b);
  return mixed ^ (mixed >>> 16);
}

/** Hashes `key` into `out`, which the caller reuses so that a lookup allocates nothing. */
export function hashKey(key: Uint8Array, out: KeyHash): KeyHash {
  const length = key.length;
  let a = 0x2545f491 ^ length;
  let b = 0x6c078965 + length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    const word = key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    a = Math.imul(rotate(a ^ Math.imul(word, 0x85ebca77), 13), 0x9e3779b1);
    b = Math.imul(rotate(b + Math.imul(word, 0xc2b2ae3d), 17), 0x27d4eb2f);
  }
  let tail = 0;
  for (let shift = 0; at < length; at++, shift += 8) tail |= key[at]! << shift;
  a = avalanche(a ^ Math.imul(tail, 0x85ebca77));
  b = avalanche(b + Math.imul(tail, 0xc2b2ae3d) + a);
  out.line = avalanche(a + b) >>> 0;
  out.bits = b >>> 0;
  return out;
}

function probesFor(bitsPerKey: number): number {
  // ln 2 × bits per key minimises false positives; lines fill unevenly, so the rounding is
  // downward.
  return Math.max(1, Math.min(PROBES_MAX, Math.floor(bitsPerKey * Math.LN2)));
}

/** Collects the hashes of a table's keys; the filter's size is known only at the end. */
export class FilterBuilder {
  readonly #bitsPerKey: number;
  readonly #hash: KeyHash = { line: 0, bits: 0 };
  #hashes: Uint32Array;
  #count = 0;

  constructor(bitsPerKey: number) {
    assert(bitsPerKey >= 0 && bitsPerKey <= 64, 'a filter takes 0 to 64 bits per key');
    this.#bitsPerKey = bitsPerKey;
    this.#hashes = new Uint32Array(bitsPerKey === 0 ? 0 : 2048);
  }

  add(key: Uint8Array): void {
    if (this.#bitsPerKey === 0) return;
    hashKey(key, this.#hash);
    const at = this.#count * 2;
    if (at === this.#hashes.length) {
      const grown = new Uint32Array(at * 2);
      grown.set(this.#hashes);
      this.#hashes = grown;
    }
    this.#hashes[at] = this.#hash.line;
    this.#hashes[at + 1] = this.#hash.bits;
    this.#count += 1;
  }

  get estimatedBytes(): number {
    return Math.ceil((this.#count * this.#bitsPerKey) / 8) + 1;
  }

  /**
   * Owned plaintext of the filter. A large one is built in slices, with turns for the event loop
   * between.
   */
  async finish(clock: Clock): Promise<Uint8Array> {
    if (this.#count === 0) return new Uint8Array(1);
    const lineCount = Math.ceil((this.#count * this.#bitsPerKey) / (LINE_BYTES * 8));
    const bytes = new Uint8Array(lineCount * LINE_BYTES + 1);
    const probeCount = probesFor(this.#bitsPerKey);
    bytes[bytes.length - 1] = probeCount;
    for (let first = 0; first < this.#count; first += SLICE_KEYS) {
      if (first > 0) await clock.yieldTurn();
      const end = Math.min(this.#count, first + SLICE_KEYS);
      this.#setBits(bytes, lineCount, probeCount, first, end);
    }
    return bytes;
  }

  #setBits(
    bytes: Uint8Array,
    lineCount: number,
    probeCount: number,
    first: number,
    end: number,
  ): void {
    for (let i = first; i < end; i++) {
      const base = Math.floor((this.#hashes[i * 2]! * lineCount) / TWO_32) * LINE_BYTES;
      let bits = this.#hashes[i * 2 + 1]!;
      for (let probe = 0; probe < probeCount; probe++) {
        bits = Math.imul(bits, GOLDEN);
        const bit = bits >>> LINE_BITS_SHIFT;
        bytes[base + (bit >>> 3)]! |= 1 << (bit & 7);
      }
    }
  }
}

/** A decoded filter. Keeps `bytes`. */
export class Filter {
  readonly bytes: Uint8Array;
  readonly #lineCount: number;
  readonly #probeCount: number;

  constructor(bytes: Uint8Array, objectName: string) {
    const lineBytes = bytes.length - 1;
    const probeCount = bytes[lineBytes] ?? PROBES_MAX + 1;
    if (
      lineBytes % LINE_BYTES !== 0 ||
      probeCount > PROBES_MAX ||
      probeCount > 0 !== lineBytes > 0
    ) {
      throw new StorageError('corrupt', `the filter of ${objectName} makes no sense`);
    }
    this.bytes = bytes;
    this.#lineCount = lineBytes / LINE_BYTES;
    this.#probeCount = probeCount;
  }

  /** False: the key is surely not in the table. */
  mayContain(hash: KeyHash): boolean {
    const base = Math.floor((hash.line * this.#lineCount) / TWO_32) * LINE_BYTES;
    let bits = hash.bits;
    for (let probe = 0; probe < this.#probeCount; probe++) {
      bits = Math.imul(bits, GOLDEN);
      const bit = bits >>> LINE_BITS_SHIFT;
      if ((this.bytes[base + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }
}

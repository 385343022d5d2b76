// A hash table from a pair of numbers to a small number: (segment, block) to a slot, for example.
//
// Open addressing with linear probing over two typed arrays, so that a million entries are two
// objects to the garbage collector and an entry costs no allocation. Entry i of `capacity`, a power
// of two:
//
//   keys    Float64Array   [2i] high   [2i + 1] low      side by side: compared on one cache line
//   values  Uint32Array    [i] value + 1, or 0           0 is empty: fresh arrays need no filling
//
// Invariants:
//   1. At most LOAD_MAX of the entries are taken, so that a probe always ends at an empty one.
//   2. Between an entry's home (its hash) and the entry itself none is empty. Deletion keeps this
//      by moving later entries back into the hole: no tombstones, and a table never degrades.

import { assert } from './assert.ts';

const CAPACITY_MIN = 16;
/** Hits probe 1.75 entries on average at this load, misses 3.6. */
const LOAD_MAX = 0.6;
const VALUE_MAX = 2 ** 31 - 1;
const HIGH_WORD = 1 / 2 ** 32;
const ENTRY_BYTES = 20;

/** Keys are pairs of integers in [0, 2^53); values are integers in [0, 2^31). */
export class PairMap {
  #keys: Float64Array;
  #values: Uint32Array;
  #mask: number;
  #sizeMax: number;
  #size = 0;

  /** `capacityHint` entries fit without growing. */
  constructor(capacityHint = 0) {
    assert(capacityHint >= 0, 'a capacity hint is not negative');
    const capacity = capacityFor(capacityHint);
    this.#keys = new Float64Array(capacity * 2);
    this.#values = new Uint32Array(capacity);
    this.#mask = capacity - 1;
    this.#sizeMax = Math.floor(capacity * LOAD_MAX);
  }

  get size(): number {
    return this.#size;
  }

  get memoryBytes(): number {
    return this.#values.length * ENTRY_BYTES;
  }

  /** The value, or -1 when the pair is absent. */
  get(high: number, low: number): number {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    let at = hashPair(high, low) & mask;
    for (;;) {
      const stored = values[at]!;
      if (stored === 0) return -1;
      if (keys[at * 2 + 1] === low && keys[at * 2] === high) return stored - 1;
      at = (at + 1) & mask;
    }
  }

  has(high: number, low: number): boolean {
    return this.get(high, low) >= 0;
  }

  /** Adds the pair or replaces its value. */
  set(high: number, low: number, value: number): void {
    assert(Number.isSafeInteger(high) && high >= 0, 'the high key is a non-negative safe integer');
    assert(Number.isSafeInteger(low) && low >= 0, 'the low key is a non-negative safe integer');
    assert(Number.isInteger(value) && value >= 0 && value <= VALUE_MAX, 'the value is an int31');
    let at = this.#find(high, low);
    if (this.#values[at] === 0) {
      if (this.#size >= this.#sizeMax) {
        this.#grow();
        at = this.#find(high, low);
      }
      this.#keys[at * 2] = high;
      this.#keys[at * 2 + 1] = low;
      this.#size += 1;
    }
    this.#values[at] = value + 1;
  }

  /** Returns whether the pair was there. */
  delete(high: number, low: number): boolean {
    const at = this.#find(high, low);
    if (this.#values[at] === 0) return false;
    this.#closeHole(at);
    this.#size -= 1;
    return true;
  }

  /** Forgets everything and gives grown memory back. */
  clear(): void {
    this.#keys = new Float64Array(CAPACITY_MIN * 2);
    this.#values = new Uint32Array(CAPACITY_MIN);
    this.#mask = CAPACITY_MIN - 1;
    this.#sizeMax = Math.floor(CAPACITY_MIN * LOAD_MAX);
    this.#size = 0;
  }

  /** Visits all entries in no order that means anything. `visit` must not change the table. */
  forEach(visit: (high: number, low: number, value: number) => void): void {
    const keys = this.#keys;
    const values = this.#values;
    for (let at = 0; at < values.length; at++) {
      const stored = values[at]!;
      if (stored !== 0) visit(keys[at * 2]!, keys[at * 2 + 1]!, stored - 1);
    }
  }

  /** Where the pair lies, or the empty entry at which its probe ends. */
  #find(high: number, low: number): number {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    let at = hashPair(high, low) & mask;
    while (values[at] !== 0) {
      if (keys[at * 2 + 1] === low && keys[at * 2] === high) break;
      at = (at + 1) & mask;
    }
    return at;
  }

  /**
   * Empties entry `hole`: each later entry of the run moves back into it when its home does not lie
   * after the hole, and leaves the next hole behind.
   */
  #closeHole(hole: number): void {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    let empty = hole;
    for (let at = (empty + 1) & mask; values[at] !== 0; at = (at + 1) & mask) {
      const home = hashPair(keys[at * 2]!, keys[at * 2 + 1]!) & mask;
      const distanceFromHome = (at - home) & mask;
      const distanceFromEmpty = (at - empty) & mask;
      if (distanceFromHome < distanceFromEmpty) continue;
      keys[empty * 2] = keys[at * 2]!;
      keys[empty * 2 + 1] = keys[at * 2 + 1]!;
      values[empty] = values[at]!;
      empty = at;
    }
    values[empty] = 0;
  }

  #grow(): void {
    const oldKeys = this.#keys;
    const oldValues = this.#values;
    const capacity = oldValues.length * 2;
    this.#keys = new Float64Array(capacity * 2);
    this.#values = new Uint32Array(capacity);
    this.#mask = capacity - 1;
    this.#sizeMax = Math.floor(capacity * LOAD_MAX);
    for (let from = 0; from < oldValues.length; from++) {
      const stored = oldValues[from]!;
      if (stored === 0) continue;
      const high = oldKeys[from * 2]!;
      const low = oldKeys[from * 2 + 1]!;
      const at = this.#find(high, low);
      this.#keys[at * 2] = high;
      this.#keys[at * 2 + 1] = low;
      this.#values[at] = stored;
    }
  }
}

function capacityFor(entries: number): number {
  let capacity = CAPACITY_MIN;
  while (Math.floor(capacity * LOAD_MAX) < entries) capacity *= 2;
  return capacity;
}

/**
 * Mixes all 106 bits into 32. Each word is spread by its own odd constant, then one multiplication
 * between two folds carries high bits to the low ones, which choose the entry: keys that count up,
 * or by a power of two, scatter.
 */
export function hashPair(high: number, low: number): number {
  const highs = Math.imul(high | 0, 0x9e3779b1) + Math.imul((high * HIGH_WORD) | 0, 0x85ebca6b);
  const lows = Math.imul(low | 0, 0x27d4eb2f) + Math.imul((low * HIGH_WORD) | 0, 0xc2b2ae35);
  const mixed = highs ^ lows;
  const folded = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return folded ^ (folded >>> 15);
}

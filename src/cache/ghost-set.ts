// Remembers the hashes of the last `capacity` blocks that were dropped, or nearly so: a hint for a
// policy, never a source of truth. A block that comes back while it is remembered is wanted.
//
// A table of buckets of WAYS entries; entry i is
//
//   hashes  Uint32Array   [i] hash of the key; 0 is empty
//   stamps  Uint32Array   [i] how many hashes had been added when this one was
//
// Nothing is ever moved or swept: an entry is too old when `capacity` others came after it, and a
// new hash takes the oldest place of its bucket. A crowded bucket forgets a little early, two keys
// of one hash are taken for each other, and a stamp that wrapped may look young again: each costs a
// worse choice, never a wrong byte.

import { assert } from '../base/assert.ts';

const WAYS = 4;

export class GhostSet {
  readonly #hashes: Uint32Array;
  readonly #stamps: Uint32Array;
  readonly #bucketMask: number;
  readonly #capacity: number;
  #added = 0;

  constructor(capacity: number) {
    assert(capacity > 0, 'a ghost set remembers at least one hash');
    let buckets = 1;
    while (buckets * WAYS < capacity) buckets *= 2;
    this.#hashes = new Uint32Array(buckets * WAYS);
    this.#stamps = new Uint32Array(buckets * WAYS);
    this.#bucketMask = buckets - 1;
    this.#capacity = capacity;
  }

  get memoryBytes(): number {
    return this.#hashes.byteLength + this.#stamps.byteLength;
  }

  add(hash: number): void {
    const wanted = nonZero(hash);
    const start = (wanted & this.#bucketMask) * WAYS;
    let place = start;
    let placeAge = -1;
    for (let at = start; at < start + WAYS; at++) {
      const stored = this.#hashes[at]!;
      const age = stored === 0 || stored === wanted ? Infinity : this.#age(at);
      if (age > placeAge) {
        place = at;
        placeAge = age;
      }
    }
    this.#hashes[place] = wanted;
    this.#stamps[place] = this.#added;
    this.#added = (this.#added + 1) >>> 0;
  }

  /** Whether the hash is remembered. It no longer is afterwards. */
  take(hash: number): boolean {
    const wanted = nonZero(hash);
    const start = (wanted & this.#bucketMask) * WAYS;
    for (let at = start; at < start + WAYS; at++) {
      if (this.#hashes[at] !== wanted) continue;
      const young = this.#age(at) <= this.#capacity;
      this.#hashes[at] = 0;
      return young;
    }
    return false;
  }

  #age(at: number): number {
    return (this.#added - this.#stamps[at]!) >>> 0;
  }
}

function nonZero(hash: number): number {
  return hash >>> 0 || 1;
}

// Where a frame lies: a hash table from (salt, frame) to an entry of a slab.
//
//   id      = slot of the slab · entriesMax + entry
//   table   Int32Array, open addressing with linear probing; id + 1, or 0 where it is empty
//
// The key is not here but in the slab's own cells, so that an entry costs the table 4 bytes, and a
// slab that is loaded is indexed without copying anything.
//
// Invariants:
//   1. Every id in the table is of a slab in `slabs`: the entries of one that leaves go before it.
//   2. A key is in the table once: an entry that comes later takes the place of the earlier one.
//   3. At most LOAD_MAX of the table is taken; between an entry's home and itself nothing is empty.

import { assert } from '../../base/assert.ts';
import { hashPair } from '../../base/pair-map.ts';
import type { Slab } from './slab.ts';
import { ENTRY_FRAME, ENTRY_HIGH, ENTRY_LOW } from './slab-format.ts';

const CAPACITY_MIN = 64;
/** Hits probe 1.75 entries on average at this load, misses 3.6. */
const LOAD_MAX = 0.6;

export class EntryIndex {
  readonly #slabs: readonly (Slab | undefined)[];
  readonly #entriesMax: number;
  #table: Int32Array;
  #mask: number;
  #size = 0;
  #bytes = 0;

  /** `slabs` by slot: borrowed, and read on every call. */
  constructor(slabs: readonly (Slab | undefined)[], entriesMax: number, capacityHint: number) {
    assert(slabs.length * entriesMax < 2 ** 31, 'an entry id is an int32');
    let capacity = CAPACITY_MIN;
    while (capacity * LOAD_MAX < capacityHint) capacity *= 2;
    this.#slabs = slabs;
    this.#entriesMax = entriesMax;
    this.#table = new Int32Array(capacity);
    this.#mask = capacity - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** Sealed bytes of all entries. */
  get bytes(): number {
    return this.#bytes;
  }

  get memoryBytes(): number {
    return this.#table.byteLength;
  }

  idOf(slab: Slab, entry: number): number {
    return slab.slot * this.#entriesMax + entry;
  }

  slabOf(id: number): Slab {
    return this.#slabs[Math.floor(id / this.#entriesMax)]!;
  }

  entryOf(id: number): number {
    return id % this.#entriesMax;
  }

  /** The id of a frame, or -1. */
  find(low: number, high: number, frame: number): number {
    return this.#table[this.#place(low, high, frame)]! - 1;
  }

  /** Adds an entry of a slab, in place of another of the same key. */
  put(slab: Slab, entry: number): void {
    const id = this.idOf(slab, entry);
    if ((this.#size + 1) * (1 / LOAD_MAX) > this.#table.length) this.#grow();
    const at = this.#placeOf(slab, entry);
    const before = this.#table[at]! - 1;
    if (before < 0) this.#size += 1;
    else this.#bytes -= this.#length(before);
    this.#table[at] = id + 1;
    this.#bytes += slab.length(entry);
  }

  /** Removes an entry, unless another one has taken its key. Returns whether it was there. */
  remove(slab: Slab, entry: number): boolean {
    const at = this.#placeOf(slab, entry);
    if (this.#table[at] !== this.idOf(slab, entry) + 1) return false;
    this.#size -= 1;
    this.#bytes -= slab.length(entry);
    this.#closeHole(at);
    return true;
  }

  /** Whether the slab is one of `slabs` now, and not an earlier filling of its slot. */
  isLive(slab: Slab): boolean {
    return this.#slabs[slab.slot] === slab;
  }

  /** Whether this very entry is what its key leads to. */
  holds(slab: Slab, entry: number): boolean {
    return this.#table[this.#placeOf(slab, entry)] === this.idOf(slab, entry) + 1;
  }

  hashOf(slab: Slab, entry: number): number {
    return hashKey(
      slab.word(entry, ENTRY_LOW),
      slab.word(entry, ENTRY_HIGH),
      slab.word(entry, ENTRY_FRAME),
    );
  }

  #length(id: number): number {
    return this.slabOf(id).length(this.entryOf(id));
  }

  #placeOf(slab: Slab, entry: number): number {
    return this.#place(
      slab.word(entry, ENTRY_LOW),
      slab.word(entry, ENTRY_HIGH),
      slab.word(entry, ENTRY_FRAME),
    );
  }

  /** Where the key lies, or the empty place at which its probe ends. */
  #place(low: number, high: number, frame: number): number {
    const table = this.#table;
    const mask = this.#mask;
    let at = hashKey(low, high, frame) & mask;
    for (;;) {
      const id = table[at]! - 1;
      if (id < 0) return at;
      const slab = this.slabOf(id);
      const entry = this.entryOf(id);
      if (
        slab.word(entry, ENTRY_FRAME) === frame &&
        slab.word(entry, ENTRY_LOW) === low &&
        slab.word(entry, ENTRY_HIGH) === high
      ) {
        return at;
      }
      at = (at + 1) & mask;
    }
  }

  /** Empties a place: later entries of the run whose home is not behind the hole move back. */
  #closeHole(hole: number): void {
    const table = this.#table;
    const mask = this.#mask;
    let empty = hole;
    for (let at = (empty + 1) & mask; table[at] !== 0; at = (at + 1) & mask) {
      const id = table[at]! - 1;
      const home = this.hashOf(this.slabOf(id), this.entryOf(id)) & mask;
      if (((at - home) & mask) < ((at - empty) & mask)) continue;
      table[empty] = id + 1;
      empty = at;
    }
    table[empty] = 0;
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Int32Array(old.length * 2);
    this.#mask = this.#table.length - 1;
    for (const stored of old) {
      if (stored === 0) continue;
      const id = stored - 1;
      let at = this.hashOf(this.slabOf(id), this.entryOf(id)) & this.#mask;
      while (this.#table[at] !== 0) at = (at + 1) & this.#mask;
      this.#table[at] = stored;
    }
  }
}

/** Salts are random, frames count up: the pair's hash scatters both. */
export function hashKey(low: number, high: number, frame: number): number {
  return hashPair(low, frame) ^ high;
}

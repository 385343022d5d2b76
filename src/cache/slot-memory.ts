// The memory of a block cache: numbered slots of one block each.
//
//   slot s lies in slab s div 1024, from byte (s mod 1024) · 4096; a slab is 4 MiB, made when its
//   first slot is used, and given back whole

import { assert } from '../base/assert.ts';

export const CACHE_BLOCK_BYTES = 4096;

const SLAB_SHIFT = 10;
export const SLAB_SLOTS = 1 << SLAB_SHIFT;
export const SLAB_MASK = SLAB_SLOTS - 1;

export class SlotMemory {
  readonly #slotCount: number;
  readonly #slabs: Buffer[] = [];

  constructor(slotCount: number) {
    this.#slotCount = slotCount;
  }

  /** Taken for slots, in use or not. */
  get bytes(): number {
    return this.#slabs.reduce((sum, slab) => sum + slab.length, 0);
  }

  /** Copies bytes [from, to) of a slot to `target` at `at`. */
  copy(slot: number, target: Uint8Array, at: number, from: number, to: number): void {
    const start = (slot & SLAB_MASK) * CACHE_BLOCK_BYTES;
    // Buffer.copy takes offsets: `set` would need a view object for each block.
    this.#slabs[slot >> SLAB_SHIFT]!.copy(target, at, start + from, start + to);
  }

  /** Fills a slot with the block that begins at `sourceAt`. Slots are first used in order. */
  fill(slot: number, source: Uint8Array, sourceAt: number): void {
    const at = (slot & SLAB_MASK) * CACHE_BLOCK_BYTES;
    this.#slabFor(slot).set(source.subarray(sourceAt, sourceAt + CACHE_BLOCK_BYTES), at);
  }

  /** Gives up the slabs of slots from `limit` on, which hold nothing. */
  giveUp(limit: number): void {
    this.#slabs.length = Math.min(this.#slabs.length, Math.ceil(limit / SLAB_SLOTS));
  }

  #slabFor(slot: number): Buffer {
    const number = slot >> SLAB_SHIFT;
    const slab = this.#slabs[number];
    if (slab !== undefined) return slab;
    // Fresh slots are used in order, so slabs are made in order. The last may be short.
    assert(number === this.#slabs.length, 'slabs are made in order');
    const slots = Math.min(SLAB_SLOTS, this.#slotCount - number * SLAB_SLOTS);
    // Not zeroed: a slot is read only after a whole block was written to it.
    const made = Buffer.allocUnsafeSlow(slots * CACHE_BLOCK_BYTES);
    this.#slabs.push(made);
    return made;
  }
}

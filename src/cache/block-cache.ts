// The RAM tier: plaintext 4 KiB blocks by (segment, block index in the segment), under a budget.
//
//   index   PairMap (segment, block) ─► slot
//   slabs   slot s lies in slab s div 1024, from byte (s mod 1024) · 4096; a slab is 4 MiB, made
//           when its first slot is used
//   order   an EvictionPolicy over slots (S3-FIFO unless told otherwise)
//
// Everything is synchronous, and a hit allocates nothing. Blocks never change once written, so
// whoever inserts a block that is there already has brought the same bytes, and they are ignored.
//
// Invariants:
//   1. The bytes held never exceed the budget; below one block, the cache always misses.
//   2. A slot is free, or in the index and in the policy.
//   3. A slot that `find` returned is valid until the next insert or forget.

import { assert } from '../base/assert.ts';
import { hashPair, PairMap } from '../base/pair-map.ts';
import type { CreateEvictionPolicy, EvictionPolicy } from './eviction-policy.ts';
import { S3Fifo } from './s3-fifo.ts';

export const CACHE_BLOCK_BYTES = 4096;

const SLAB_SHIFT = 10;
const SLAB_SLOTS = 1 << SLAB_SHIFT;
const SLAB_MASK = SLAB_SLOTS - 1;
/** Slots are int32; 2^30 of them hold 4 TiB. */
const SLOTS_MAX = 2 ** 30;
const BLOCK_INDEX_MAX = 2 ** 32 - 1;

export interface BlockCacheSettings {
  /** Plaintext held at most. The tables beside it take about 2.5 % more. */
  readonly budgetBytes: number;
}

export interface BlockCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly inserts: number;
  readonly evictions: number;
  /** Plaintext held now. */
  readonly bytes: number;
  readonly budgetBytes: number;
  /** Index, queues and other tables. */
  readonly overheadBytes: number;
}

export class BlockCache {
  readonly #budgetBytes: number;
  readonly #slotCount: number;
  readonly #index: PairMap;
  readonly #policy: EvictionPolicy | undefined;
  readonly #slabs: Buffer[] = [];
  readonly #segmentOf: Float64Array;
  readonly #blockOf: Uint32Array;
  /** A stack of the slots that were given back, of which `#freeCount` are in use. */
  readonly #free: Int32Array;
  #freeCount = 0;
  /** Slots from here on were never used. */
  #fresh = 0;
  #hits = 0;
  #misses = 0;
  #inserts = 0;
  #evictions = 0;

  constructor(
    settings: BlockCacheSettings,
    createPolicy: CreateEvictionPolicy = (slotCount) => new S3Fifo(slotCount),
  ) {
    assert(settings.budgetBytes >= 0, 'a cache budget is not negative');
    const slotCount = Math.floor(settings.budgetBytes / CACHE_BLOCK_BYTES);
    assert(slotCount <= SLOTS_MAX, 'a cache holds at most 2^30 blocks');
    this.#budgetBytes = settings.budgetBytes;
    this.#slotCount = slotCount;
    this.#index = new PairMap(slotCount);
    this.#policy = slotCount === 0 ? undefined : createPolicy(slotCount);
    this.#segmentOf = new Float64Array(slotCount);
    this.#blockOf = new Uint32Array(slotCount);
    this.#free = new Int32Array(slotCount);
  }

  /** The slot of a block, or -1. Counts a hit or a miss. */
  find(segment: number, block: number): number {
    const slot = this.#index.get(segment, block);
    if (slot < 0) {
      this.#misses += 1;
      return -1;
    }
    this.#hits += 1;
    this.#policy?.touch(slot);
    return slot;
  }

  /** Copies bytes [from, to) of the block in `slot` to `target` at `at`. */
  copySlot(slot: number, target: Uint8Array, at: number, from: number, to: number): void {
    assert(0 <= from && from <= to && to <= CACHE_BLOCK_BYTES, 'a range lies in its block');
    assert(at + (to - from) <= target.length, 'a copy fits its target');
    const start = (slot & SLAB_MASK) * CACHE_BLOCK_BYTES;
    // Buffer.copy takes offsets: `set` would need a view object for each block.
    this.#slabs[slot >> SLAB_SHIFT]!.copy(target, at, start + from, start + to);
  }

  /** Copies a whole block to `target` at `targetAt` and returns true, or counts a miss. */
  copyOut(segment: number, block: number, target: Uint8Array, targetAt: number): boolean {
    const slot = this.find(segment, block);
    if (slot < 0) return false;
    this.copySlot(slot, target, targetAt, 0, CACHE_BLOCK_BYTES);
    return true;
  }

  /** Whether a block is held. Counts nothing and does not make it younger. */
  has(segment: number, block: number): boolean {
    return this.#index.has(segment, block);
  }

  /** Keeps a copy of the 4 KiB of `source` that begin at `sourceAt`. */
  insert(segment: number, block: number, source: Uint8Array, sourceAt: number): void {
    assert(sourceAt + CACHE_BLOCK_BYTES <= source.length, 'a source holds the whole block');
    assert(block <= BLOCK_INDEX_MAX, 'a block index fits 32 bits');
    if (this.#policy === undefined || this.#index.has(segment, block)) return;
    const slot = this.#takeSlot(this.#policy);
    // The bytes come first: if there is no memory for a slab, no key may lead to it.
    const at = (slot & SLAB_MASK) * CACHE_BLOCK_BYTES;
    this.#slabFor(slot).set(source.subarray(sourceAt, sourceAt + CACHE_BLOCK_BYTES), at);
    this.#index.set(segment, block, slot);
    this.#segmentOf[slot] = segment;
    this.#blockOf[slot] = block;
    this.#policy.admit(slot, hashPair(segment, block));
    this.#inserts += 1;
  }

  /** Keeps copies of `count` blocks that lie one after another in `source` from `sourceAt`. */
  insertRun(
    segment: number,
    firstBlock: number,
    count: number,
    source: Uint8Array,
    sourceAt: number,
  ): void {
    for (let index = 0; index < count; index++) {
      this.insert(segment, firstBlock + index, source, sourceAt + index * CACHE_BLOCK_BYTES);
    }
  }

  /** Drops a dead block: its room is free at once. Returns whether it was held. */
  forget(segment: number, block: number): boolean {
    const slot = this.#index.get(segment, block);
    if (slot < 0) return false;
    this.#index.delete(segment, block);
    this.#policy?.remove(slot);
    this.#free[this.#freeCount++] = slot;
    return true;
  }

  /** Drops the blocks [firstBlock, firstBlock + count): all of a segment's when it is deleted. */
  forgetRun(segment: number, firstBlock: number, count: number): void {
    for (let index = 0; index < count; index++) this.forget(segment, firstBlock + index);
  }

  stats(): BlockCacheStats {
    const perSlot = this.#segmentOf.byteLength + this.#blockOf.byteLength + this.#free.byteLength;
    return {
      hits: this.#hits,
      misses: this.#misses,
      inserts: this.#inserts,
      evictions: this.#evictions,
      bytes: this.#index.size * CACHE_BLOCK_BYTES,
      budgetBytes: this.#budgetBytes,
      overheadBytes: perSlot + this.#index.memoryBytes + (this.#policy?.memoryBytes ?? 0),
    };
  }

  /** A slot that is in neither the index nor the policy. */
  #takeSlot(policy: EvictionPolicy): number {
    if (this.#freeCount > 0) return this.#free[--this.#freeCount]!;
    if (this.#fresh < this.#slotCount) return this.#fresh++;
    const slot = policy.evict();
    const gone = this.#index.delete(this.#segmentOf[slot]!, this.#blockOf[slot]!);
    assert(gone, 'an evicted slot was in the index');
    this.#evictions += 1;
    return slot;
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

// The RAM tier: plaintext 4 KiB blocks by (segment, block index in the segment), under a budget.
//
//   index   PairMap (segment, block) ─► slot
//   memory  slots lie in slabs of 4 MiB (slot-memory.ts)
//   order   an EvictionPolicy over slots (S3-FIFO unless told otherwise)
//
// The budget can be shared: what others have borrowed of it is asked for now and then, and the
// cache then gives whole slabs back from its end, with whatever lies in them. They are few, as what
// others keep of the tree grows with the data, over hours.
//
// Everything is synchronous, and a hit allocates nothing. Blocks never change once written, so
// whoever inserts a block that is there already has brought the same bytes, and they are ignored.
//
// Invariants:
//   1. The bytes held never exceed the budget; below one block, the cache always misses. What is
//      borrowed of it is given up within INSERTS_PER_CHECK inserts.
//   2. A slot is free, or in the index and in the policy.
//   3. A slot that `find` returned is valid until the next insert or forget.

import { assert } from '../base/assert.ts';
import { hashPair, PairMap } from '../base/pair-map.ts';
import type { CreateEvictionPolicy, EvictionPolicy } from './eviction-policy.ts';
import { S3Fifo } from './s3-fifo.ts';
import { CACHE_BLOCK_BYTES, SLAB_MASK, SLAB_SLOTS, SlotMemory } from './slot-memory.ts';

/** Slots are int32; 2^30 of them hold 4 TiB. */
const SLOTS_MAX = 2 ** 30;
const BLOCK_INDEX_MAX = 2 ** 32 - 1;
/** So rarely that asking costs nothing, and well within the inserts that fill a slab. */
const INSERTS_PER_CHECK = 256;
/** What others give back is taken when it is so many slabs: it may be borrowed again. */
const SLABS_TO_GROW = 2;

export interface BlockCacheSettings {
  /** Plaintext held at most. The tables beside it take up to 2 % more: see budget.ts. */
  readonly budgetBytes: number;
  readonly shared?: SharedBudget;
}

/** Who else lives on the same budget. */
export interface SharedBudget {
  /** What the others hold now. Asked for every few hundred inserts. */
  readonly borrowedBytes: () => number;
  /** What is left to this cache however much the others hold. */
  readonly keptBytes: number;
}

export interface BlockCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly inserts: number;
  readonly evictions: number;
  /** Plaintext held now. */
  readonly bytes: number;
  /** Plaintext held at most, as long as others borrow what they do. */
  readonly budgetBytes: number;
  /** Memory that is taken for plaintext, held or not. Never given back but to who borrows it. */
  readonly slabBytes: number;
  /** Index, queues and other tables. */
  readonly overheadBytes: number;
}

export class BlockCache {
  readonly #slotCount: number;
  readonly #shared: SharedBudget | undefined;
  /** Slots from here on are lent: nothing is in them. */
  #slotLimit: number;
  #insertsToCheck = INSERTS_PER_CHECK;
  readonly #index: PairMap;
  readonly #policy: EvictionPolicy | undefined;
  readonly #memory: SlotMemory;
  readonly #segmentOf: Float64Array;
  readonly #blockOf: Uint32Array;
  /** A stack of the slots that were given back, of which `#freeCount` are in use. */
  readonly #free: Int32Array;
  #freeCount = 0;
  /** Slots from here on hold nothing, and are not in the stack. */
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
    this.#slotCount = slotCount;
    this.#slotLimit = slotCount;
    this.#shared = settings.shared;
    this.#memory = new SlotMemory(slotCount);
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
    this.#memory.copy(slot, target, at, from, to);
  }

  /** Copies a whole block to `target` at `targetAt` and returns true, or counts a miss. */
  copyOut(segment: number, block: number, target: Uint8Array, targetAt: number): boolean {
    const slot = this.find(segment, block);
    if (slot < 0) return false;
    this.copySlot(slot, target, targetAt, 0, CACHE_BLOCK_BYTES);
    return true;
  }

  /** As `copyOut`, but counts nothing and does not make the block younger. */
  peek(segment: number, block: number, target: Uint8Array, targetAt: number): boolean {
    const slot = this.#index.get(segment, block);
    if (slot < 0) return false;
    this.copySlot(slot, target, targetAt, 0, CACHE_BLOCK_BYTES);
    return true;
  }

  /** Whether a block is held. Counts nothing and does not make it younger. */
  has(segment: number, block: number): boolean {
    return this.#index.has(segment, block);
  }

  /**
   * Counts a read of a block that came because of it: `find` missed it, and the bytes were taken
   * from what was fetched. Without it the block would leave as if nobody had wanted it.
   */
  markRead(segment: number, block: number): void {
    const slot = this.#index.get(segment, block);
    if (slot >= 0) this.#policy?.touch(slot);
  }

  /**
   * Keeps a copy of the 4 KiB of `source` that begin at `sourceAt`: of a block that is expected to
   * be read, since it was asked for, fetched ahead of a reader, or written.
   */
  insert(segment: number, block: number, source: Uint8Array, sourceAt: number): void {
    this.#insert(segment, block, source, sourceAt, true);
  }

  #insert(
    segment: number,
    block: number,
    source: Uint8Array,
    sourceAt: number,
    expected: boolean,
  ): void {
    assert(sourceAt + CACHE_BLOCK_BYTES <= source.length, 'a source holds the whole block');
    assert(block <= BLOCK_INDEX_MAX, 'a block index fits 32 bits');
    const policy = this.#policy;
    if (policy === undefined || this.#index.has(segment, block)) return;
    if (this.#shared !== undefined && --this.#insertsToCheck <= 0)
      this.#share(this.#shared, policy);
    if (this.#slotLimit === 0) return;
    const slot = this.#takeSlot(policy);
    // The bytes come first: if there is no memory for a slab, no key may lead to it.
    this.#memory.fill(slot, source, sourceAt);
    this.#index.set(segment, block, slot);
    this.#segmentOf[slot] = segment;
    this.#blockOf[slot] = block;
    policy.admit(slot, hashPair(segment, block), expected);
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
    this.#insertRun(segment, firstBlock, count, source, sourceAt, true);
  }

  /**
   * As `insertRun`, for blocks that came along with others and may never be asked for, as the rest
   * of a frame. They get little room. Those that are held already are left as they are.
   */
  insertAlong(
    segment: number,
    firstBlock: number,
    count: number,
    source: Uint8Array,
    sourceAt: number,
  ): void {
    this.#insertRun(segment, firstBlock, count, source, sourceAt, false);
  }

  #insertRun(
    segment: number,
    firstBlock: number,
    count: number,
    source: Uint8Array,
    sourceAt: number,
    expected: boolean,
  ): void {
    for (let index = 0; index < count; index++) {
      const at = sourceAt + index * CACHE_BLOCK_BYTES;
      this.#insert(segment, firstBlock + index, source, at, expected);
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
      budgetBytes: this.#slotLimit * CACHE_BLOCK_BYTES,
      slabBytes: this.#memory.bytes,
      overheadBytes: perSlot + this.#index.memoryBytes + (this.#policy?.memoryBytes ?? 0),
    };
  }

  /** A slot that is in neither the index nor the policy. */
  #takeSlot(policy: EvictionPolicy): number {
    if (this.#freeCount > 0) return this.#free[--this.#freeCount]!;
    if (this.#fresh < this.#slotLimit) return this.#fresh++;
    const slot = policy.evict();
    const gone = this.#index.delete(this.#segmentOf[slot]!, this.#blockOf[slot]!);
    assert(gone, 'an evicted slot was in the index');
    this.#evictions += 1;
    return slot;
  }

  /** Gives up or takes back what others borrow or have returned since they were last asked. */
  #share({ borrowedBytes, keptBytes }: SharedBudget, policy: EvictionPolicy): void {
    this.#insertsToCheck = INSERTS_PER_CHECK;
    const free = this.#slotCount - Math.ceil(borrowedBytes() / CACHE_BLOCK_BYTES);
    // Whole slabs: a part of one cannot be returned.
    const slabs = free >= this.#slotCount ? this.#slotCount : free - (free & SLAB_MASK);
    const kept = Math.floor(keptBytes / CACHE_BLOCK_BYTES);
    const limit = Math.min(this.#slotCount, Math.max(slabs, kept, 0));
    const growth = limit - this.#slotLimit;
    if (growth < 0) this.#giveUp(limit, policy);
    if (growth < 0 || limit === this.#slotCount || growth >= SLABS_TO_GROW * SLAB_SLOTS) {
      this.#slotLimit = limit;
    }
  }

  /** Drops what lies in slots from `limit` on, and their slabs. */
  #giveUp(limit: number, policy: EvictionPolicy): void {
    for (let slot = limit; slot < this.#fresh; slot++) {
      const segment = this.#segmentOf[slot]!;
      const block = this.#blockOf[slot]!;
      // A free slot still has the key that it held last, which may be in another slot by now.
      if (this.#index.get(segment, block) !== slot) continue;
      this.#index.delete(segment, block);
      policy.remove(slot);
      this.#evictions += 1;
    }
    this.#fresh = Math.min(this.#fresh, limit);
    let kept = 0;
    for (let at = 0; at < this.#freeCount; at++) {
      const slot = this.#free[at]!;
      if (slot < limit) this.#free[kept++] = slot;
    }
    this.#freeCount = kept;
    this.#memory.giveUp(limit);
  }
}

// Which block leaves a full cache: the seam between BlockCache, which owns slots and bytes, and a
// policy, which owns an order. A policy sees no key, only the slot and a 32-bit hash of the key.
//
// Invariants, on which BlockCache relies:
//   1. A slot is in the policy from `admit` until `remove`, or until `evict` returns it.
//   2. While any slot is in it, `evict` returns one.

export interface EvictionPolicy {
  /**
   * `slot` now holds the block whose key hashes to `hash`. Nobody has read it yet: whoever brings
   * it because it is read calls `touch` as well. Not `expected` is a block that only came along
   * with another, as the rest of its frame.
   */
  admit(slot: number, hash: number, expected: boolean): void;
  /** The block was read. Called for every hit: must neither allocate nor search. */
  touch(slot: number): void;
  /** The block is dead: the slot was taken back before its time. */
  remove(slot: number): void;
  /** Picks the block to drop, and forgets its slot. */
  evict(): number;
  /** What the policy's own tables take. */
  readonly memoryBytes: number;
}

export type CreateEvictionPolicy = (slotCount: number) => EvictionPolicy;

// S3-FIFO (Yang et al., SOSP 2023): three FIFO queues in place of an LRU list. Most blocks of a
// scan are read once; they pass through a small queue and never disturb what is read again.
//
//   new block ────────► small (10 %) ──── was read ────► main (90 %) ◄──┐ was read:
//                           │                             │  ▲  └───────┘ one more round
//                           └─ was not ─► ghost ──────────│──┘
//                                 (hashes only;           └─ was not ─► dropped
//                                  those that come back go to main)
//
// 1. `admit`: a block whose hash the ghost remembers goes to main, any other to small.
// 2. `touch` counts reads up to READS_MAX: one byte written, no list moved.
// 3. `evict` takes the oldest of small while small holds its share or more, else the oldest of
//    main. A small block read READS_TO_STAY times moves to main, another leaves and its hash goes
//    to the ghost. A main block that was read goes round again with one read less. After STEPS_MAX
//    such moves the oldest of main leaves all the same: no single eviction may take long.
//
// Invariant: every admitted slot is in exactly one of the two queues.

import { assert } from '../base/assert.ts';
import type { EvictionPolicy } from './eviction-policy.ts';
import { GhostSet } from './ghost-set.ts';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

const SMALL_SHARE = 0.1;
const READS_MAX = 3;
/** With one, a scan that read-ahead serves would fill main: each of its blocks is a hit, once. */
const READS_TO_STAY = 2;

/** When a full cache of hot blocks meets its first miss, sparing them all would stall a reader. */
const STEPS_MAX = 64;

const IN_SMALL = 1;
const IN_MAIN = 2;

export class S3Fifo implements EvictionPolicy {
  readonly #links: SlotLinks;
  readonly #small: SlotQueue;
  readonly #main: SlotQueue;
  readonly #ghost: GhostSet;
  readonly #hashes: Uint32Array;
  readonly #reads: Uint8Array;
  readonly #place: Uint8Array;
  readonly #smallMax: number;

  constructor(slotCount: number) {
    assert(slotCount > 0, 'a policy has slots to choose from');
    this.#links = new SlotLinks(slotCount);
    this.#small = new SlotQueue(this.#links);
    this.#main = new SlotQueue(this.#links);
    this.#smallMax = Math.max(1, Math.floor(slotCount * SMALL_SHARE));
    this.#ghost = new GhostSet(Math.max(1, slotCount - this.#smallMax));
    this.#hashes = new Uint32Array(slotCount);
    this.#reads = new Uint8Array(slotCount);
    this.#place = new Uint8Array(slotCount);
  }

  get memoryBytes(): number {
    const perSlot = this.#hashes.byteLength + this.#reads.byteLength + this.#place.byteLength;
    return perSlot + this.#links.memoryBytes + this.#ghost.memoryBytes;
  }

  admit(slot: number, hash: number): void {
    assert(this.#place[slot] === 0, 'a slot is admitted once');
    this.#hashes[slot] = hash;
    if (this.#ghost.take(hash)) this.#enter(slot, IN_MAIN);
    else this.#enter(slot, IN_SMALL);
  }

  touch(slot: number): void {
    const reads = this.#reads[slot]!;
    if (reads < READS_MAX) this.#reads[slot] = reads + 1;
  }

  remove(slot: number): void {
    assert(this.#place[slot] !== 0, 'a slot that is removed was admitted');
    (this.#place[slot] === IN_MAIN ? this.#main : this.#small).remove(slot);
    this.#place[slot] = 0;
  }

  evict(): number {
    assert(this.#small.size + this.#main.size > 0, 'there is a slot to evict');
    for (let step = 0; step < STEPS_MAX; step++) {
      const fromSmall = this.#small.size >= this.#smallMax || this.#main.size === 0;
      const slot = fromSmall ? this.#oldestOfSmall() : this.#oldestOfMain();
      if (slot >= 0) return slot;
    }
    // Every step left its slot in main, so main has one.
    const spared = this.#main.shift();
    this.#place[spared] = 0;
    return spared;
  }

  /** Drops the oldest small block and returns its slot, or moves it to main and returns -1. */
  #oldestOfSmall(): number {
    const slot = this.#small.shift();
    if (this.#reads[slot]! >= READS_TO_STAY) {
      this.#enter(slot, IN_MAIN);
      return -1;
    }
    this.#ghost.add(this.#hashes[slot]!);
    this.#place[slot] = 0;
    return slot;
  }

  /** Drops the oldest main block and returns its slot, or sends it round again and returns -1. */
  #oldestOfMain(): number {
    const slot = this.#main.shift();
    const reads = this.#reads[slot]!;
    if (reads > 0) {
      this.#enter(slot, IN_MAIN);
      this.#reads[slot] = reads - 1;
      return -1;
    }
    this.#place[slot] = 0;
    return slot;
  }

  #enter(slot: number, place: number): void {
    this.#reads[slot] = 0;
    this.#place[slot] = place;
    (place === IN_MAIN ? this.#main : this.#small).push(slot);
  }
}

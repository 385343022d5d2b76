// S3-FIFO (Yang et al., SOSP 2023): FIFO queues in place of an LRU list. Most blocks of a scan are
// read once; they pass through a small queue and never disturb what is read again.
//
//   came along ─► guests (1 %) ── read ──► small      not read ─► dropped
//   expected ───► small (10 %) ── read again ─► main   read once ─► ghost   not read ─► dropped
//                                 main (the rest) ── read ─► one more round   not read ─► dropped
//   guests or small, first read, ghost remembers it ─► main
//
// 1. `admit`: an expected block enters small, one that only shares a frame with it enters guests.
// 2. `touch`: the first read of a block asks the ghost, which holds hashes of blocks that were read
//    before they were dropped. One that it remembers moves to main, a guest that it does not moves
//    to small. Other reads are counted up to READS_MAX: one byte written, no list moved.
// 3. `evict` takes the oldest of guests while they hold more than their share, else the oldest of
//    small while it holds its share or more, else the oldest of main. A small block read
//    READS_TO_STAY times moves to main. A main block that was read goes round again with one read
//    less. After STEPS_MAX such moves the oldest of main leaves all the same: no single eviction
//    may take long.
//
// The paper asks the ghost when a block enters, since its blocks enter when they are read. Ours
// come sixteen at a time, or ahead of a reader. If the ghost remembered unread ones too, it would
// reach back a sixteenth as far, and a prefetched scan would look like a reader who comes back.
//
// Invariant: every admitted slot is in exactly one of the three queues.

import { assert } from '../base/assert.ts';
import type { EvictionPolicy } from './eviction-policy.ts';
import { GhostSet } from './ghost-set.ts';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

/** Room for the frames of a few dozen readers: who reads neighbours reads them soon. */
const GUEST_SHARE = 0.01;
const SMALL_SHARE = 0.1;
const READS_MAX = 3;
/** The read for which a block came is one: a block of a scan has no other. */
const READS_TO_STAY = 2;

/** When a full cache of hot blocks meets its first miss, sparing them all would stall a reader. */
const STEPS_MAX = 64;

const IN_GUESTS = 1;
const IN_SMALL = 2;
const IN_MAIN = 3;

export class S3Fifo implements EvictionPolicy {
  readonly #links: SlotLinks;
  readonly #guests: SlotQueue;
  readonly #small: SlotQueue;
  readonly #main: SlotQueue;
  readonly #ghost: GhostSet;
  readonly #hashes: Uint32Array;
  readonly #reads: Uint8Array;
  readonly #place: Uint8Array;
  readonly #guestsMax: number;
  readonly #smallMax: number;

  constructor(slotCount: number) {
    assert(slotCount > 0, 'a policy has slots to choose from');
    this.#links = new SlotLinks(slotCount);
    this.#guests = new SlotQueue(this.#links);
    this.#small = new SlotQueue(this.#links);
    this.#main = new SlotQueue(this.#links);
    this.#guestsMax = Math.floor(slotCount * GUEST_SHARE);
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

  admit(slot: number, hash: number, expected: boolean): void {
    assert(this.#place[slot] === 0, 'a slot is admitted once');
    this.#hashes[slot] = hash;
    this.#enter(slot, expected ? IN_SMALL : IN_GUESTS);
  }

  touch(slot: number): void {
    const reads = this.#reads[slot]!;
    if (reads === 0 && this.#place[slot] !== IN_MAIN) this.#firstRead(slot);
    else if (reads < READS_MAX) this.#reads[slot] = reads + 1;
  }

  remove(slot: number): void {
    assert(this.#place[slot] !== 0, 'a slot that is removed was admitted');
    this.#leave(slot);
  }

  evict(): number {
    for (let step = 0; step < STEPS_MAX; step++) {
      if (this.#guests.size > this.#guestsMax) return this.#drop(this.#guests.oldest);
      const small = this.#small.size;
      const slot =
        small >= this.#smallMax || (small > 0 && this.#main.size === 0)
          ? this.#oldestOfSmall()
          : this.#oldestOfMain();
      if (slot >= 0) return slot;
    }
    // Every step left its slot in main, so main has one.
    return this.#drop(this.#main.oldest);
  }

  #firstRead(slot: number): void {
    const remembered = this.#ghost.take(this.#hashes[slot]!);
    if (remembered || this.#place[slot] === IN_GUESTS) {
      this.#leave(slot);
      this.#enter(slot, remembered ? IN_MAIN : IN_SMALL);
    }
    if (!remembered) this.#reads[slot] = 1;
  }

  /** Drops the oldest small block and returns its slot, or moves it to main and returns -1. */
  #oldestOfSmall(): number {
    const slot = this.#small.oldest;
    const reads = this.#reads[slot]!;
    if (reads >= READS_TO_STAY) {
      this.#leave(slot);
      this.#enter(slot, IN_MAIN);
      return -1;
    }
    if (reads > 0) this.#ghost.add(this.#hashes[slot]!);
    return this.#drop(slot);
  }

  /**
   * Drops the oldest main block and returns its slot, or sends it round again and returns -1. Only
   * guests are left when main is empty.
   */
  #oldestOfMain(): number {
    const slot = this.#main.oldest;
    if (slot < 0) return this.#drop(this.#guests.oldest);
    const reads = this.#reads[slot]!;
    if (reads === 0) return this.#drop(slot);
    this.#leave(slot);
    this.#enter(slot, IN_MAIN);
    this.#reads[slot] = reads - 1;
    return -1;
  }

  #drop(slot: number): number {
    assert(slot >= 0, 'there is a slot to evict');
    this.#leave(slot);
    return slot;
  }

  #enter(slot: number, place: number): void {
    this.#reads[slot] = 0;
    this.#place[slot] = place;
    this.#queue(place).push(slot);
  }

  #leave(slot: number): void {
    this.#queue(this.#place[slot]!).remove(slot);
    this.#place[slot] = 0;
  }

  #queue(place: number): SlotQueue {
    if (place === IN_SMALL) return this.#small;
    return place === IN_MAIN ? this.#main : this.#guests;
  }
}

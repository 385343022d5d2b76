// Makes room: takes the slab whose turn it is, moves what was read again to the slab of those that
// stay, forgets the rest. S3-FIFO (../s3-fifo.ts) with slabs for blocks:
//
//   new frame ──► probation slabs (20 %) ── was read ──► main slabs ◄──┐ was read:
//                     │                                    │  ▲  └─────┘ once more, one read less
//                     └─ was not ─► ghost ─────────────────│──┘
//                          (hashes only; those that        └─ was not ─► dropped
//                           come back go to main)
//
// It goes in steps, between which newcomers are written: a slab may be large. A victim's entries
// stay readable until they have moved or it leaves.
//
// Invariants:
//   1. At most MOVED_SHARE_MAX of a slab moves, those read most first: every round gains room.
//   2. One step moves at most STEP_BYTES.

import { assert } from '../../base/assert.ts';
import { isStorageError } from '../../base/errors.ts';
import { GhostSet } from '../ghost-set.ts';
import type { Slab } from './slab.ts';
import { ENTRY_FRAME, ENTRY_HIGH, ENTRY_LOW, ENTRY_SUM, MAIN, PROBATION } from './slab-format.ts';
import type { Item, SlabSet } from './slab-set.ts';

const MOVED_SHARE_MAX = 0.75;
const STEP_BYTES = 1024 * 1024;
const GHOST_ENTRIES_MIN = 64;

interface Survivor extends Item {
  readonly entry: number;
}

export class Evictor {
  readonly #set: SlabSet;
  #victim: Slab | undefined;
  #nextEntry = 0;
  /** Sealed bytes that may still move, by the count of reads. */
  #allowance: number[] = [];
  /** Remembers about as many dropped newcomers as the cache holds frames. */
  #ghost: GhostSet | undefined;
  #ghostEntries = 0;
  #evicted = 0;
  #moved = 0;

  constructor(set: SlabSet) {
    this.#set = set;
  }

  get memoryBytes(): number {
    return this.#ghost?.memoryBytes ?? 0;
  }

  /** Frames that had to go. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Frames that were written once more. */
  get moved(): number {
    return this.#moved;
  }

  /** Whether a frame that is inserted was dropped not long ago. It is asked once. */
  wasDropped(hash: number): boolean {
    return this.#ghost?.take(hash) === true;
  }

  /** Moves a few entries of the victim, or frees it when none is left. */
  async step(): Promise<void> {
    const victim = this.#victim ?? this.#begin();
    const chosen = this.#choose(victim);
    if (chosen.length === 0) {
      this.#forgetAll(victim);
      await this.#set.release(victim);
      this.#victim = undefined;
      await victim.file.close();
      return;
    }
    let survivors: readonly Survivor[] = await this.#read(victim, chosen);
    while (survivors.length > 0) {
      const placed = await this.#set.append(MAIN, survivors, true);
      // No room but that of the victim itself: these go with it.
      if (placed === undefined) break;
      for (let at = 0; at < placed.count; at++) {
        const { entry } = survivors[at]!;
        // Forgotten in the meantime: it was found to be damaged.
        if (!this.#set.index.holds(victim, entry)) continue;
        this.#set.index.put(placed.slab, placed.first + at);
        const reads = victim.header.kind === MAIN ? victim.reads(entry) - 1 : 0;
        placed.slab.setReads(placed.first + at, Math.max(0, reads));
        this.#moved += 1;
      }
      survivors = survivors.slice(placed.count);
    }
  }

  #begin(): Slab {
    const victim = this.#set.victim();
    assert(victim !== undefined, 'a cache without free slabs has full ones');
    const bytes = [0, 0, 0, 0];
    for (let entry = 0; entry < victim.count; entry++) {
      if (this.#set.index.holds(victim, entry)) bytes[victim.reads(entry)]! += victim.length(entry);
    }
    let rest = this.#set.layout.slabBytes * MOVED_SHARE_MAX;
    this.#allowance = [0, 0, 0, 0];
    for (let reads = bytes.length - 1; reads > 0; reads--) {
      this.#allowance[reads] = Math.min(rest, bytes[reads]!);
      rest -= this.#allowance[reads]!;
    }
    this.#nextEntry = 0;
    this.#victim = victim;
    return victim;
  }

  /** The next entries to move, up to STEP_BYTES. */
  #choose(victim: Slab): number[] {
    const chosen: number[] = [];
    let bytes = 0;
    while (this.#nextEntry < victim.count && bytes < STEP_BYTES) {
      const entry = this.#nextEntry++;
      const reads = victim.reads(entry);
      const length = victim.length(entry);
      if (reads === 0 || length > this.#allowance[reads]!) continue;
      if (!this.#set.index.holds(victim, entry)) continue;
      this.#allowance[reads]! -= length;
      chosen.push(entry);
      bytes += length;
    }
    return chosen;
  }

  /**
   * The bytes of entries, neighbours by one read. What cannot be read is left; damage moves along,
   * and its sum with it.
   */
  async #read(victim: Slab, chosen: readonly number[]): Promise<Survivor[]> {
    const survivors: Survivor[] = [];
    let from = 0;
    while (from < chosen.length) {
      const start = victim.offset(chosen[from]!);
      let to = from;
      let end = start;
      while (to < chosen.length && victim.offset(chosen[to]!) === end) {
        end += victim.length(chosen[to++]!);
      }
      const bytes = Buffer.allocUnsafeSlow(end - start);
      if (await readAll(victim, bytes, start)) {
        for (const entry of chosen.slice(from, to)) {
          survivors.push(survivorOf(victim, entry, bytes, start));
        }
      }
      from = to;
    }
    return survivors;
  }

  /** What is remembered is lost when the memory grows: that happens once or twice. */
  #ghostFor(entries: number): GhostSet {
    if (this.#ghost === undefined || entries > this.#ghostEntries * 2) {
      this.#ghostEntries = Math.max(GHOST_ENTRIES_MIN, entries);
      this.#ghost = new GhostSet(this.#ghostEntries);
    }
    return this.#ghost;
  }

  #forgetAll(victim: Slab): void {
    const { index } = this.#set;
    const ghost = this.#ghostFor(index.size);
    for (let entry = 0; entry < victim.count; entry++) {
      const hash = index.hashOf(victim, entry);
      if (!index.remove(victim, entry)) continue;
      this.#evicted += 1;
      if (victim.header.kind === PROBATION) ghost.add(hash);
    }
  }
}

async function readAll(slab: Slab, target: Uint8Array, offset: number): Promise<boolean> {
  try {
    return (await slab.file.read(target, offset)) === target.length;
  } catch (error) {
    if (isStorageError(error)) return false;
    throw error;
  }
}

/** An entry of `slab` out of `bytes`, which begin at `start`. */
function survivorOf(slab: Slab, entry: number, bytes: Uint8Array, start: number): Survivor {
  const at = slab.offset(entry) - start;
  return {
    entry,
    low: slab.word(entry, ENTRY_LOW),
    high: slab.word(entry, ENTRY_HIGH),
    frame: slab.word(entry, ENTRY_FRAME),
    sum: slab.word(entry, ENTRY_SUM),
    bytes: bytes.subarray(at, at + slab.length(entry)),
  };
}

// How a budget is divided into slabs. Powers of two, so that a changed budget mostly leaves the
// slabs that are there as they are.

import { assert } from '../../base/assert.ts';
import { CELL_BYTES } from './slab-format.ts';

/** Slabs that a cache has at least, where it can: one leaves at a time, and two stand free. */
const SLABS_WANTED = 64;
/** Each slab holds a file descriptor. */
const SLABS_MAX = 4096;
/** Two open, two free, and some to choose from. */
const SLABS_MIN = 8;
const SLAB_BYTES_MIN = 256 * 1024;
/** Evicting and loading one takes a fraction of a second. */
const SLAB_BYTES_AIM = 64 * 1024 * 1024;
/** Past this, slabs grow instead of their number: 128 GiB. */
const SLABS_AIM = 2048;
/** Offsets in a slab are u32. */
const SLAB_BYTES_MAX = 2 * 1024 * 1024 * 1024;

/** Memory follows the count of entries: smaller ones leave a part of their slab unused. */
const ENTRY_BYTES_MEAN_MIN = 8 * 1024;
/** Small slabs may hold small entries all the same: their tables are small in any case. */
const ENTRIES_MIN = 1024;

/**
 * The share of slabs that newcomers have to prove themselves in. Half of it serves a steady hot set
 * 1 % better, and one that moves 10 % worse (scan-resistance.test.ts).
 */
const PROBATION_SHARE = 0.2;
/** With fewer, the last ones of a slab would leave as soon as the next slab is opened. */
const PROBATION_MIN = 3;

export interface Layout {
  readonly slabBytes: number;
  readonly slabCount: number;
  /** Entries of a slab at most: a power of two. */
  readonly entriesMax: number;
  readonly probationSlabs: number;
  /** The largest frame that fits: beside it lie header, head, entry, and its directory. */
  readonly entryBytesMax: number;
}

/** The slabs for a budget; none at all when it is too small to be of use (2 MiB). */
export function layoutFor(budgetBytes: number): Layout {
  assert(budgetBytes >= 0, 'a cache budget is not negative');
  let slabBytes = SLAB_BYTES_MIN;
  while (slabBytes < SLAB_BYTES_AIM && budgetBytes / (slabBytes * 2) >= SLABS_WANTED) {
    slabBytes *= 2;
  }
  while (slabBytes < SLAB_BYTES_MAX && budgetBytes / slabBytes > SLABS_AIM) slabBytes *= 2;
  return layoutOf(budgetBytes, slabBytes);
}

/** The same for slabs of a given size, a power of two. */
export function layoutOf(budgetBytes: number, slabBytes: number): Layout {
  assert(Number.isInteger(Math.log2(slabBytes)), 'the size of a slab is a power of two');
  assert(slabBytes <= SLAB_BYTES_MAX, 'an offset in a slab fits 32 bits');
  const slabCount = Math.min(SLABS_MAX, Math.floor(budgetBytes / slabBytes));
  return {
    slabBytes,
    slabCount: slabCount < SLABS_MIN ? 0 : slabCount,
    entriesMax: Math.max(ENTRIES_MIN, slabBytes / ENTRY_BYTES_MEAN_MIN),
    probationSlabs: Math.max(PROBATION_MIN, Math.round(slabCount * PROBATION_SHARE)),
    entryBytesMax: slabBytes - 5 * CELL_BYTES,
  };
}

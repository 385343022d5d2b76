// One budget of memory for all that a branch keeps to read from: plaintext blocks, whole block
// maps, frame tables, and blocks of the tree's tables.
//
//     ├─────────── blocks ───────────┬─ lent as needed ─┬─ tableBlocks ─┬─ frameTables ─┬─ maps ─┤
//     ├──────────────── blocksMax ──────────────────────┤ ◄── as large as the others are small
//
// What is lent is worth more than what it is taken from. A table block of 16 KiB says where 20 to
// 110 MiB of the volume lie; a block map saves a look-up, a frame table a fetch. Where the tree
// does not fit, a cold read costs two or three GETs instead of one, so it is given up to half. But
// most trees are small: 4 % of a budget that holds a tenth of the data. So these are the most that
// each may take, and the block cache has what they do not use (`SharedBudget` of block-cache.ts).
//
// Shares by budget.bench.ts. GETs for each read, zipf 0.99, 256 MiB in all:
//
//   maps / frame tables / table blocks    9/3/9 %    15/5/30 %    15/5/30 %, the unused lent
//   1 TiB, 32 GiB of random 16 KiB          0.56        0.49         0.46
//   64 GiB of 8 KiB pages                   1.06        0.55         0.55
//   8 GiB of 8 KiB pages                    0.36        0.39         0.35
//
// A larger budget holds the same tree with a smaller part of it.

import { assert } from '../base/assert.ts';
import { CACHE_BLOCK_BYTES } from './slot-memory.ts';

export interface CacheSplit {
  /** Plaintext of blocks that the block cache keeps however much the others hold. */
  readonly blocks: number;
  /** Plaintext of blocks while the others hold nothing. */
  readonly blocksMax: number;
  /** At most, as the three below. */
  readonly maps: number;
  readonly frameTables: number;
  readonly tableBlocks: number;
}

/**
 * Index, keys, queues and ghost of one slot, at the worst: the hash tables have sizes of powers of
 * two. Between 78 and 111 bytes were measured.
 */
export const SLOT_OVERHEAD_BYTES = 112;

const MIB = 1024 * 1024;
/** Shares of the budget up to here, and of what is beyond. */
const SMALL_BYTES = 256 * MIB;
const SHARES = {
  maps: { small: 0.15, beyond: 0.1 },
  frameTables: { small: 0.05, beyond: 0.03 },
  tableBlocks: { small: 0.3, beyond: 0.1 },
} as const;

/**
 * `blocks` and the three others, with the block cache's own tables, never exceed `totalBytes`; nor
 * does `blocksMax` with its tables.
 */
export function splitCacheBudget(totalBytes: number): CacheSplit {
  assert(totalBytes >= 0, 'a cache budget is not negative');
  const small = Math.min(totalBytes, SMALL_BYTES);
  const part = (share: { readonly small: number; readonly beyond: number }): number =>
    Math.floor(small * share.small + (totalBytes - small) * share.beyond);
  const maps = part(SHARES.maps);
  const frameTables = part(SHARES.frameTables);
  const tableBlocks = part(SHARES.tableBlocks);
  const slots = Math.floor(totalBytes / (CACHE_BLOCK_BYTES + SLOT_OVERHEAD_BYTES));
  const blocksMax = slots * CACHE_BLOCK_BYTES;
  const kept = Math.max(0, blocksMax - maps - frameTables - tableBlocks);
  return {
    blocks: kept - (kept % CACHE_BLOCK_BYTES),
    blocksMax,
    maps,
    frameTables,
    tableBlocks,
  };
}

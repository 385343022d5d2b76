// Which runs to merge next. Pure: the same runs give the same answer.
//
//   tier of a run = floor(log_fanIn(bytes / tierBytes)), at least 0
//
//   newest                                            oldest
//   0  0  0  0  1  1  2  2  2  4          → merge the four of tier 0
//
// 1. For each tier from the lowest: look at stretches of neighbours that are all of this tier or
//    lower. A stretch with `fanIn` runs of just this tier is merged whole. Its result is of a
//    higher tier (or smaller than what went in), so a byte is rewritten once per tier: write
//    amplification is O(log size).
// 2. Sizes that do not come in order can leave small runs between large ones, where rule 1 finds no
//    stretch. Past `runCountMax`, the neighbours that cost the fewest bytes per run got rid of are
//    merged. So the number of runs is O(log size) too. Measured on 3000 flushes of 16 KiB to 8 MiB
//    each: 18 runs at most and 12 on average instead of 32 and 15, for 4.8 instead of 4.7 bytes
//    written per byte flushed.
//
// Merges are always of neighbours in age: a key's values stay in order.

import { assert } from '../../base/assert.ts';

export interface RunSummary {
  /** Stored bytes. */
  readonly bytes: number;
}

export interface CompactionSettings {
  /** How many runs of one tier make one of the next. At least 2. */
  readonly fanIn: number;
  /** Runs below this size count as equal: merging them costs requests, not bytes. */
  readonly tierBytes: number;
}

export const COMPACTION_DEFAULTS: CompactionSettings = { fanIn: 4, tierBytes: 64 * 1024 };

export const MERGE_ALL_SHARE = 0.2;

/** A group of runs, `[from, to)` in a list that begins with the newest. */
export interface CompactionPick {
  readonly from: number;
  readonly to: number;
}

/** `runs` newest first. Undefined: nothing is worth merging now. */
export function pickCompaction(
  runs: readonly RunSummary[],
  settings: CompactionSettings,
): CompactionPick | undefined {
  assert(settings.fanIn >= 2, 'a merge takes at least two runs');
  assert(settings.tierBytes > 0, 'tiers have a size');
  const tiers = runs.map((run) => tierOf(run.bytes, settings));
  const highest = tiers.reduce((max, tier) => Math.max(max, tier), 0);
  for (let tier = 0; tier <= highest; tier++) {
    const pick = pickTier(tiers, tier, settings.fanIn);
    if (pick !== undefined) return pick;
  }
  if (runs.length <= runCountMax(runs, settings)) return undefined;
  return pickCheapest(runs, settings.fanIn);
}

/**
 * All runs, once those above the oldest hold this share of its bytes: only a merge of everything
 * finds out which blocks are dead (RFC 0003), and what it does not know yet is space that cannot
 * come back. A table entry is some twenty bytes for a write of 4 KiB or more, so that with a fifth
 * the merges write about 3 % of what clients write.
 */
export function pickAll(runs: readonly RunSummary[], share: number): CompactionPick | undefined {
  if (runs.length < 2) return undefined;
  const above = runs.slice(0, -1).reduce((sum, run) => sum + run.bytes, 0);
  return above >= runs.at(-1)!.bytes * share ? { from: 0, to: runs.length } : undefined;
}

/** The most runs that are left when nothing more is picked. */
export function runCountMax(runs: readonly RunSummary[], settings: CompactionSettings): number {
  const bytes = runs.reduce((sum, run) => sum + run.bytes, 0);
  return settings.fanIn + Math.ceil(settings.fanIn / 2) * tierOf(bytes, settings);
}

/** Counted by multiplication: logarithms round. */
function tierOf(bytes: number, settings: CompactionSettings): number {
  let tier = 0;
  for (let limit = settings.tierBytes * settings.fanIn; bytes >= limit; limit *= settings.fanIn) {
    tier += 1;
  }
  return tier;
}

/** The first stretch of runs of `tier` or lower that has `fanIn` of exactly `tier`. */
function pickTier(
  tiers: readonly number[],
  tier: number,
  fanIn: number,
): CompactionPick | undefined {
  let from = 0;
  let equal = 0;
  for (let at = 0; at <= tiers.length; at++) {
    const here = tiers[at] ?? Infinity;
    if (here <= tier) {
      if (here === tier) equal += 1;
      continue;
    }
    if (equal >= fanIn) return { from, to: at };
    from = at + 1;
    equal = 0;
  }
  return undefined;
}

/** Two to 2 × fanIn neighbours with the least bytes to write per run that goes away. */
function pickCheapest(runs: readonly RunSummary[], fanIn: number): CompactionPick {
  let best = { from: 0, to: 2 };
  let bestCost = Infinity;
  for (let from = 0; from + 1 < runs.length; from++) {
    let bytes = runs[from]!.bytes;
    for (let to = from + 2; to <= Math.min(runs.length, from + fanIn * 2); to++) {
      bytes += runs[to - 1]!.bytes;
      const cost = bytes / (to - from - 1);
      if (cost >= bestCost) continue;
      bestCost = cost;
      best = { from, to };
    }
  }
  return best;
}

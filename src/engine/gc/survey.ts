// How much of what the branch stores is dead, and which segments are worth rewriting.
//
// Looks at segments of the head that are the branch's own and that no other root pins: only their
// space can come back. Counts are exact behind a merge of everything and an upper bound otherwise.

import type { FrameTable } from '../format/frame-table.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { SortedRun } from '../table/run.ts';
import { forEachSegment, type Reach } from './reach.ts';

export interface Survey {
  /** Sealed data bytes of segments that may be relocated, and the part of them that is alive. */
  readonly storedBytes: number;
  readonly liveBytes: number;
  /** The same of the head's segments that other roots pin: they are left where they are. */
  readonly pinnedStoredBytes: number;
  readonly pinnedLiveBytes: number;
  readonly segments: number;
  readonly smallSegments: number;
  /** Live bytes of segments by how full they are: FULLNESS_STEPS buckets, emptiest first. */
  readonly liveByFullness: readonly number[];
}

export interface Victim {
  readonly segment: number;
  readonly table: FrameTable;
  readonly live: number;
}

export interface SurveyOptions {
  readonly lineage: Lineage;
  readonly kept: Reach;
  readonly signal: AbortSignal;
  /** Sealed data bytes below which a segment counts as small. */
  readonly smallBytes: number;
}

export const FULLNESS_STEPS = 20;
/** Victims of one step at most: bounds their frame tables in memory. */
const VICTIMS_MAX = 1024;

/** The caller sees to it that the runs stay readable. */
export async function survey(runs: readonly SortedRun[], options: SurveyOptions): Promise<Survey> {
  const { lineage, kept, signal, smallBytes } = options;
  let storedBytes = 0;
  let liveBytes = 0;
  let pinnedStoredBytes = 0;
  let pinnedLiveBytes = 0;
  let segments = 0;
  let smallSegments = 0;
  const liveByFullness = Array.from({ length: FULLNESS_STEPS }, () => 0);
  await forEachSegment(runs, signal, (segment, { table, live }) => {
    if (!lineage.ownsSegment(segment)) return;
    const bytes = table.offsets.at(-1)!;
    const liveHere = (bytes * live) / table.blocks;
    if (isPinned(kept, table)) {
      pinnedStoredBytes += bytes;
      pinnedLiveBytes += liveHere;
      return;
    }
    segments += 1;
    storedBytes += bytes;
    liveBytes += liveHere;
    liveByFullness[fullnessOf(table, live)]! += liveHere;
    if (isSmall(table, smallBytes)) smallSegments += 1;
  });
  return {
    storedBytes,
    liveBytes,
    pinnedStoredBytes,
    pinnedLiveBytes,
    segments,
    smallSegments,
    liveByFullness,
  };
}

/** Segments to rewrite: those not fuller than `fullness`, or all small ones; a bounded number. */
export async function chooseVictims(
  runs: readonly SortedRun[],
  options: SurveyOptions,
  choice: { readonly fullness: number; readonly small: boolean; readonly liveBytesMax: number },
): Promise<readonly Victim[]> {
  const { lineage, kept, signal, smallBytes } = options;
  const victims: Victim[] = [];
  let liveBytes = 0;
  await forEachSegment(runs, signal, (segment, { table, live }) => {
    if (victims.length === VICTIMS_MAX || liveBytes >= choice.liveBytesMax) return;
    if (!lineage.ownsSegment(segment) || isPinned(kept, table)) return;
    const bytes = table.offsets.at(-1)!;
    const isChosen = choice.small
      ? isSmall(table, smallBytes)
      : fullnessOf(table, live) <= choice.fullness;
    if (!isChosen) return;
    liveBytes += (bytes * live) / table.blocks;
    victims.push({ segment, table, live });
  });
  return victims;
}

/** The least bucket up to which the emptiest segments hold `liveBytes` together. */
export function fullnessFor(found: Survey, liveBytes: number): number {
  let sum = 0;
  for (let bucket = 0; bucket < FULLNESS_STEPS - 1; bucket++) {
    sum += found.liveByFullness[bucket]!;
    if (sum >= liveBytes) return bucket;
  }
  // What is full to the last bucket gains nothing.
  return FULLNESS_STEPS - 2;
}

function fullnessOf(table: FrameTable, live: number): number {
  const bucket = Math.floor((live / table.blocks) * FULLNESS_STEPS);
  return Math.min(FULLNESS_STEPS - 1, bucket);
}

/** By blocks: of what compresses well full segments have few bytes too, and stay so when joined. */
function isSmall(table: FrameTable, smallBytes: number): boolean {
  return table.blocks * BLOCK_BYTES < smallBytes;
}

function isPinned(kept: Reach, table: FrameTable): boolean {
  return table.dataId === 0 ? kept.logs.has(table.logNumber) : kept.data.has(table.dataId);
}

/** Sealed data bytes of the branch's own objects. */
export interface Space {
  readonly storedBytes: number;
  readonly liveBytes: number;
  /** Kept by snapshots and branches, and not used by the head. */
  readonly pinnedBytes: number;
}

export function hasShrunk(before: Survey, after: Survey): boolean {
  return after.storedBytes < before.storedBytes || after.smallSegments < before.smallSegments;
}

export function spaceIn(found: Survey, keptBytes: number): Space {
  return {
    storedBytes: found.storedBytes + found.pinnedStoredBytes,
    liveBytes: found.liveBytes + found.pinnedLiveBytes,
    pinnedBytes: Math.max(0, keptBytes - found.pinnedStoredBytes),
  };
}

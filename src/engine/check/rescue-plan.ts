// In what order tables lie above one another, when no manifest says it. Pure.
//
// Facts: a run covers a contiguous stretch of segments, since a flush takes all commits up to a
// point and a merge takes neighbours. Runs of one state never overlap. A run that was made later
// (higher ids) and overlaps an earlier one was made from it, or from what that became: runs are
// merged whole. So:
//
//   1. Tables are joined to runs as a manifest says, else by id: keys ascend, and the run is
//      complete when each segment's count says how many pointers its tables hold.
//   2. A run is superseded by a complete one with a higher id whose stretch overlaps its own.
//   3. What is left lies above one another in the order of the segments.
//   4. A run without pointers (trims, records) has no stretch: it lies right above the newest of
//      the runs with lower ids.
//
// A pointer's segment tells the order of contents by itself: of two pointers of one block that of
// the higher segment is newer, also when the collector moved it. What this cannot tell: whether an
// old run, kept for a snapshot, of which nothing lives any more, lies below the newest. Then a
// block that was trimmed since may come back with what it held before. Nor does anything but a
// manifest tell of a restore.

import { compareBytes } from '../../base/bytes.ts';
import type { RescuedTable } from './rescue-table.ts';

export interface RescuedRun {
  /** In key order. */
  readonly tables: readonly RescuedTable[];
  /** Of its last table. */
  readonly id: number;
  /** First and last segment that it knows of; 0 for none. */
  readonly low: number;
  readonly high: number;
  /** Nothing of it is missing. */
  readonly complete: boolean;
}

/** Joins tables to runs. `known` are runs of a manifest, as lists of ids, newest first. */
export function joinRuns(
  tables: readonly RescuedTable[],
  known: readonly (readonly number[])[],
): { readonly known: readonly RescuedRun[]; readonly others: readonly RescuedRun[] } {
  const byId = new Map(tables.map((table) => [table.id, table]));
  const joined: RescuedRun[] = [];
  for (const ids of known) {
    const present = ids.map((id) => byId.get(id)).filter((table) => table !== undefined);
    if (present.length > 0) joined.push(runOf(present, present.length === ids.length));
  }
  const taken = new Set(known.flat());
  const open: RescuedTable[][] = [];
  for (const table of tables.toSorted((a, b) => a.id - b.id)) {
    if (taken.has(table.id)) continue;
    const continues = (run: RescuedTable[]): boolean =>
      compareBytes(run.at(-1)!.descriptor.lastKey, table.descriptor.firstKey) < 0 &&
      !isBalanced(run);
    const before = open.findLast(continues);
    if (before === undefined) open.push([table]);
    else before.push(table);
  }
  return { known: joined, others: open.map((run) => runOf(run, true)) };
}

function runOf(tables: readonly RescuedTable[], allThere: boolean): RescuedRun {
  let low = Infinity;
  let high = 0;
  for (const { pointers, frames } of tables) {
    for (const segments of [pointers, frames]) {
      for (const segment of segments.keys()) {
        low = Math.min(low, segment);
        high = Math.max(high, segment);
      }
    }
  }
  const sound = tables.every((table) => table.damage === undefined);
  const id = Math.max(...tables.map((table) => table.id));
  const complete = allThere && sound && isBalanced(tables);
  return { tables, id, low: high === 0 ? 0 : low, high, complete };
}

/** Whether the tables hold as many pointers to each segment as its key counts. */
function isBalanced(tables: readonly RescuedTable[]): boolean {
  const open = new Map<number, number>();
  for (const { pointers } of tables) {
    for (const [segment, count] of pointers) open.set(segment, (open.get(segment) ?? 0) + count);
  }
  for (const { frames, counts } of tables) {
    for (const segment of frames.keys()) {
      const pointed = open.get(segment) ?? 0;
      // Version 1 counted nothing.
      if ((counts.get(segment) ?? pointed) !== pointed) return false;
      open.delete(segment);
    }
  }
  return open.size === 0;
}

/** The runs of the newest state, newest first. */
export function newestState(runs: readonly RescuedRun[]): readonly RescuedRun[] {
  const left = runs.filter((run) => !runs.some((other) => supersedes(other, run)));
  const dated = left.filter((run) => run.high > 0).sort((a, b) => b.high - a.high);
  const order: RescuedRun[] = [...dated];
  for (const run of left.filter((one) => one.high === 0).sort((a, b) => a.id - b.id)) {
    const above = order.findIndex((one) => one.id < run.id);
    order.splice(above < 0 ? order.length : above, 0, run);
  }
  return order;
}

export function supersedes(other: RescuedRun, run: RescuedRun): boolean {
  if (!other.complete || other.id <= run.id || run.high === 0) return false;
  return other.low <= run.high && other.high >= run.low;
}

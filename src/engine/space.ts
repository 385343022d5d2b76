// What each root keeps by itself: the bytes that would be freed if it were deleted.
//
// Two walks over all roots: the first finds out which objects more than one root reaches, the
// second adds up the others. Memory is one bit or two per object.

import type { SortedRun } from './table/run.ts';
import { forEachSegment } from './gc/reach.ts';
import { NumberSet } from './gc/number-set.ts';
import type { Lineage } from './manifest/lineage.ts';

export interface RootSpace {
  /** Stored bytes of this branch's own objects that the root reaches. */
  readonly reachedBytes: number;
  /** Those that no other root reaches. */
  readonly ownBytes: number;
}

type Visit = (kind: 'log' | 'data' | 'table', id: number, bytes: number) => void;

/** One result per list of runs. Every list must stay readable during the walk. */
export async function spaceOf(
  roots: readonly (readonly SortedRun[])[],
  lineage: Lineage,
  signal: AbortSignal,
): Promise<RootSpace[]> {
  const seen = { log: new NumberSet(), data: new NumberSet(), table: new NumberSet() };
  const shared = { log: new NumberSet(), data: new NumberSet(), table: new NumberSet() };
  for (const runs of roots) {
    await forEachObject(runs, lineage, signal, (kind, id) => {
      (seen[kind].has(id) ? shared : seen)[kind].add(id);
    });
  }
  const spaces: RootSpace[] = [];
  for (const runs of roots) {
    let reachedBytes = 0;
    let ownBytes = 0;
    await forEachObject(runs, lineage, signal, (kind, id, bytes) => {
      reachedBytes += bytes;
      if (!shared[kind].has(id)) ownBytes += bytes;
    });
    spaces.push({ reachedBytes, ownBytes });
  }
  return spaces;
}

async function forEachObject(
  runs: readonly SortedRun[],
  lineage: Lineage,
  signal: AbortSignal,
  visit: Visit,
): Promise<void> {
  for (const { descriptor } of runs.flatMap((run) => run.tables)) {
    if (lineage.ownsId(descriptor.id)) visit('table', descriptor.id, descriptor.bytes);
  }
  await forEachSegment(runs, signal, (segment, { table }) => {
    if (!lineage.ownsSegment(segment)) return;
    const bytes = table.offsets.at(-1)!;
    if (table.dataId === 0) visit('log', table.logNumber, bytes);
    else visit('data', table.dataId, bytes);
  });
}

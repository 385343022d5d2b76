// Merges a contiguous group of runs into one. Reads by large ranged GETs past the cache, writes new
// tables, deletes nothing: the caller publishes a manifest that names the new run in place of the
// old ones, and only then may old tables go. Memory: two pieces per source (table-cursor.ts) and
// two tables (run-writer.ts).

import { assert } from '../../base/assert.ts';
import type { Combine } from '../table/merge.ts';
import { mergeCursors } from '../table/merge.ts';
import type { Run, SortedRun } from '../table/run.ts';
import { writeRun } from '../table/run-writer.ts';
import type { RunWriterDeps } from '../table/run-writer.ts';
import type { TableSettings } from '../table/settings.ts';
import { compactionScan } from '../table/table-cursor.ts';

export interface CompactionOptions {
  /** The group, newest first; contiguous by age, else older values would hide newer ones. */
  readonly runs: readonly SortedRun[];
  /** The group includes the oldest run of all. */
  readonly isBottom: boolean;
  readonly combine: Combine;
  /** A table id that was never used before. */
  readonly allocateId: () => number;
  /** Object name of the table with that id. */
  readonly nameOf: (id: number) => string;
  readonly signal?: AbortSignal;
}

/**
 * The new run is durable in the store when this resolves. It has no tables when every entry was
 * dropped.
 */
export function compact(
  deps: RunWriterDeps,
  settings: TableSettings,
  options: CompactionOptions,
): Promise<Run> {
  const { runs, isBottom, combine, allocateId, nameOf, signal } = options;
  assert(runs.length > 0, 'a compaction has runs to merge');
  const sources = runs.map((run) => run.cursor(compactionScan(signal)));
  const merged = mergeCursors(sources, combine, isBottom);
  const request = { cause: 'compaction', allocateId, nameOf } as const;
  return writeRun(deps, settings, merged, signal === undefined ? request : { ...request, signal });
}

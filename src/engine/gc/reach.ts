// What a root of this branch reaches among the branch's own objects: the tables of its runs, and
// the log and data objects of the segments that have a key in them. A run holds a segment's key as
// long as one of its pointers names the segment (live-counts.ts), so that nothing else need be
// looked at.

import { ByteReader } from '../../base/bytes.ts';
import { decodeSegmentEntry, type SegmentEntry } from '../format/frame-table.ts';
import { KEY_SEGMENT, segmentOfKey } from '../format/keys.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { SortedRun } from '../table/run.ts';
import { NumberSet } from './number-set.ts';

export interface Reach {
  /** Log numbers. */
  readonly logs: NumberSet;
  /** Ids of data objects. */
  readonly data: NumberSet;
  /** Ids of tables. */
  readonly tables: NumberSet;
  /** Of all of them. */
  bytes: number;
}

export function createReach(): Reach {
  return { logs: new NumberSet(), data: new NumberSet(), tables: new NumberSet(), bytes: 0 };
}

/** Adds all that `runs` reach. The caller sees to it that the runs stay readable. */
export async function addReach(
  reach: Reach,
  runs: readonly SortedRun[],
  lineage: Lineage,
  signal: AbortSignal,
): Promise<void> {
  for (const run of runs) {
    for (const { descriptor } of run.tables) {
      const isNew = lineage.ownsId(descriptor.id) && reach.tables.add(descriptor.id);
      if (isNew) reach.bytes += descriptor.bytes;
    }
  }
  await forEachSegment(runs, signal, (segment, { table }) => {
    if (!lineage.ownsSegment(segment)) return;
    const isLog = table.dataId === 0;
    const isNew = isLog ? reach.logs.add(table.logNumber) : reach.data.add(table.dataId);
    if (isNew) reach.bytes += table.offsets.at(-1)!;
  });
}

const FROM = Uint8Array.of(KEY_SEGMENT);
const TO = Uint8Array.of(KEY_SEGMENT + 1);

/** Every segment that has a key in `runs`, with its count there. Runs are walked one by one. */
export async function forEachSegment(
  runs: readonly SortedRun[],
  signal: AbortSignal,
  visit: (segment: number, entry: SegmentEntry) => void,
): Promise<void> {
  const scan = { from: FROM, to: TO, cause: 'collection', keep: false, readAhead: true } as const;
  for (const run of runs) {
    const cursor = run.cursor({ ...scan, signal });
    for (;;) {
      const step = cursor.next();
      if (!(typeof step === 'boolean' ? step : await step)) break;
      const reader = new ByteReader(cursor.value, 'segment entry');
      visit(segmentOfKey(cursor.key), decodeSegmentEntry(reader));
    }
  }
}

// Frames that lie side by side in a slab are read by one call, straight into the caller's buffer.
//
// What is expected (place, sums) is noted before the read begins: the slab may be recycled under
// it, and then the bytes of its next filling do not have these sums.

import type { EntryIndex } from './entry-index.ts';
import type { Slab } from './slab.ts';
import { ENTRY_SUM, sumOf } from './slab-format.ts';

/** Entries [entry, entry + sums.length) of a slab, to `targetAt`. */
export interface Run {
  readonly slab: Slab;
  readonly entry: number;
  readonly lengths: number[];
  readonly sums: number[];
  readonly targetAt: number;
  bytes: number;
}

/** Where the frames are, or undefined when one is missing or has another length. */
export function planRuns(
  index: EntryIndex,
  low: number,
  high: number,
  firstFrame: number,
  lengths: Uint32Array,
): readonly Run[] | undefined {
  const runs: Run[] = [];
  let run: Run | undefined;
  let targetAt = 0;
  for (let at = 0; at < lengths.length; at++) {
    const id = index.find(low, high, firstFrame + at);
    if (id < 0) return undefined;
    const slab = index.slabOf(id);
    const entry = index.entryOf(id);
    const length = lengths[at]!;
    if (slab.length(entry) !== length) return undefined;
    if (run === undefined || !follows(run, slab, entry)) {
      run = { slab, entry, lengths: [], sums: [], targetAt, bytes: 0 };
      runs.push(run);
    }
    run.lengths.push(length);
    run.sums.push(slab.word(entry, ENTRY_SUM));
    run.bytes += length;
    targetAt += length;
  }
  return runs;
}

function follows(run: Run, slab: Slab, entry: number): boolean {
  return (
    run.slab === slab &&
    entry === run.entry + run.sums.length &&
    slab.offset(entry) === slab.offset(run.entry) + run.bytes
  );
}

/**
 * Reads the runs; frames that are damaged leave the index, and their count is given. When a read
 * fails the error is thrown after all others have settled: nobody writes to `target` any more.
 */
export async function copyRuns(
  index: EntryIndex,
  runs: readonly Run[],
  target: Uint8Array,
): Promise<number> {
  if (runs.length === 1) return copyRun(index, runs[0]!, target);
  let damaged = 0;
  const results = await Promise.allSettled(runs.map((run) => copyRun(index, run, target)));
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason;
    damaged += result.value;
  }
  return damaged;
}

async function copyRun(index: EntryIndex, run: Run, target: Uint8Array): Promise<number> {
  const { slab, targetAt } = run;
  const bytes = target.subarray(targetAt, targetAt + run.bytes);
  // A file that ends early leaves the rest of `bytes` as it was: the sums tell.
  await slab.file.read(bytes, slab.offset(run.entry));
  let damaged = 0;
  let end = 0;
  for (let at = 0; at < run.sums.length; at++) {
    const start = end;
    end += run.lengths[at]!;
    if (sumOf(bytes.subarray(start, end)) === run.sums[at]) {
      slab.touch(run.entry + at);
    } else {
      damaged += 1;
      // Unless its slab has left the index already, or the frame was written anew.
      if (index.isLive(slab)) index.remove(slab, run.entry + at);
    }
  }
  return damaged;
}

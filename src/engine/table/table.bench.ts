// Tables: build, preload, cached lookup, scan, merge, compaction; best of several rounds.
// Everything runs on one thread, sealing included. Run: node src/engine/table/table.bench.ts

import { createSeededRng } from '../../base/rng.ts';
import { systemClock } from '../../base/system.ts';
import { compact } from '../compaction/executor.ts';
import { cursorOf } from './cursor.ts';
import type { Cursor } from './cursor.ts';
import { mergeCursors, takeNewest } from './merge.ts';
import { lookup, openRun } from './run.ts';
import type { SortedRun } from './run.ts';
import { writeRun } from './run-writer.ts';
import { TABLE_DEFAULTS } from './settings.ts';
import { compactionScan } from './table-cursor.ts';
import { chunkLikeKey, createTestWorld, randomEntries, testTableName } from './testing.ts';

const ENTRIES = 400_000;
const RUNS = 4;
const LOOKUPS = 100_000;
const ROUNDS = 6;

const world = {
  ...createTestWorld(TABLE_DEFAULTS, 1024 * 1024 * 1024),
  clock: systemClock,
};
const rng = createSeededRng(1);
let lastId = 0;
const ids = { allocateId: () => ++lastId, nameOf: testTableName };
const lists = Array.from({ length: RUNS }, () => randomEntries(rng, ENTRIES / RUNS));
const plainBytes = lists
  .flat()
  .reduce((sum, entry) => sum + entry.key.length + entry.value.length, 0);
const present = Array.from({ length: LOOKUPS }, () => {
  const list = lists[0]!;
  return new Uint8Array(list[Math.floor(rng.float() * list.length)]!.key);
});
const foreign = Array.from({ length: LOOKUPS }, (_, i) => chunkLikeKey(1, i * 3));

const best = new Map<string, number>();

/** Keeps the least time per unit: what the machine does when nothing else disturbs it. */
async function measure(what: string, units: number, work: () => void | Promise<unknown>) {
  const start = performance.now();
  await work();
  const nanoseconds = ((performance.now() - start) * 1e6) / units;
  best.set(what, Math.min(best.get(what) ?? Infinity, nanoseconds));
}

async function consume(cursor: Cursor): Promise<void> {
  for (;;) {
    const step = cursor.next();
    if (!(typeof step === 'boolean' ? step : await step)) return;
  }
}

async function writeRuns(): Promise<SortedRun[]> {
  const runs: SortedRun[] = [];
  for (const list of lists) {
    const run = await writeRun(world, TABLE_DEFAULTS, cursorOf(list), { cause: 'flush', ...ids });
    runs.push(openRun(world, TABLE_DEFAULTS, run, (table) => testTableName(table.id)));
  }
  return runs;
}

async function round(): Promise<void> {
  let runs: SortedRun[] = [];
  await measure('write runs', ENTRIES, async () => (runs = await writeRuns()));
  const tables = runs.flatMap((run) => run.tables);
  await measure('preload', ENTRIES, async () => {
    for (const table of tables) await table.preload({ cause: 'open' });
  });
  let seen = 0;
  const found = (): boolean => (seen += 1) > 0;
  await measure('lookup, found in the first of 4', LOOKUPS, () => {
    for (const key of present) void lookup(runs, key, found);
  });
  const pass = (): boolean => false;
  await measure('lookup through all 4', LOOKUPS, () => {
    for (const key of foreign) void lookup(runs, key, pass);
  });
  if (seen !== LOOKUPS) throw new Error('not every key was found');
  await measure('scan, cached', ENTRIES, async () => {
    for (const run of runs) await consume(run.cursor(compactionScan()));
  });
  await measure('merge of 4 in memory', ENTRIES, () => {
    const sources = lists.map((list) => cursorOf(list));
    return consume(mergeCursors(sources, takeNewest, true));
  });
  await measure('merge of 4, cached', ENTRIES, () => {
    const sources = runs.map((run) => run.cursor(compactionScan()));
    return consume(mergeCursors(sources, takeNewest, true));
  });
  for (const table of tables) world.cache.drop(table.descriptor.id);
  await measure('compaction of 4', ENTRIES, () =>
    compact(world, TABLE_DEFAULTS, { runs, isBottom: true, combine: takeNewest, ...ids }),
  );
  world.memory.objects.clear();
}

for (let i = 0; i < ROUNDS; i++) await round();
console.log(`${ENTRIES} entries of ${(plainBytes / ENTRIES).toFixed(0)} bytes in ${RUNS} runs`);
console.table(
  Array.from(best, ([what, nanoseconds]) => {
    const perSecond = `${Math.round(1e6 / nanoseconds)}k`;
    return { what, 'ns each': Math.round(nanoseconds), 'per second': perSecond };
  }),
);

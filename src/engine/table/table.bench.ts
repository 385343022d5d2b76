// Tables: build, cached lookup, scan, merge. Run: node src/engine/table/table.bench.ts

import { createSeededRng } from '../../base/rng.ts';
import { systemClock } from '../../base/system.ts';
import { compact } from '../compaction/executor.ts';
import { cursorOf } from './cursor.ts';
import type { Cursor, Entry } from './cursor.ts';
import { mergeCursors, takeNewest } from './merge.ts';
import { lookup, openRun } from './run.ts';
import type { SortedRun } from './run.ts';
import { writeRun } from './run-writer.ts';
import { TABLE_DEFAULTS } from './settings.ts';
import { compactionScan } from './table-cursor.ts';
import { chunkLikeKey, createTestWorld, randomEntries, testTableName } from './testing.ts';

const ENTRIES = 400_000;
const RUNS = 4;

const world = { ...createTestWorld(TABLE_DEFAULTS, 1024 * 1024 * 1024), clock: systemClock };
const rng = createSeededRng(1);
let lastId = 0;
const ids = { allocateId: () => ++lastId, nameOf: testTableName };

function print(what: string, count: number, unit: string, startMs: number, bytes?: number): void {
  const ms = performance.now() - startMs;
  const each = `${((ms * 1e6) / count).toFixed(0)} ns/${unit}`;
  const rate = bytes === undefined ? '' : `, ${(bytes / 1e3 / ms).toFixed(0)} MB/s`;
  console.log(`${what}: ${each}, ${Math.round(count / ms)}k ${unit}/s${rate}`);
}

async function count(cursor: Cursor): Promise<number> {
  for (let n = 0; ; n++) {
    const step = cursor.next();
    if (!(typeof step === 'boolean' ? step : await step)) return n;
  }
}

function plainBytes(lists: readonly (readonly Entry[])[]): number {
  return lists.flat().reduce((sum, entry) => sum + entry.key.length + entry.value.length, 0);
}

const lists = Array.from({ length: RUNS }, () => randomEntries(rng, ENTRIES / RUNS));
const bytes = plainBytes(lists);

for (let round = 0; round < 3; round++) {
  console.log(`round ${round}: ${ENTRIES} entries, ${(bytes / 1e6).toFixed(0)} MB`);
  const runs: SortedRun[] = [];
  let start = performance.now();
  for (const list of lists) {
    const run = await writeRun(world, TABLE_DEFAULTS, cursorOf(list), { cause: 'flush', ...ids });
    runs.push(openRun(world, TABLE_DEFAULTS, run, (table) => testTableName(table.id)));
  }
  print('build, seal inline, put', ENTRIES, 'entry', start, bytes);

  start = performance.now();
  for (const run of runs) for (const table of run.tables) await table.preload({ cause: 'open' });
  print('preload', ENTRIES, 'entry', start, bytes);

  const wanted = Array.from({ length: 200_000 }, () => {
    const list = lists[0]!;
    return list[Math.floor(rng.float() * list.length)]!.key;
  });
  let seen = 0;
  const visit = (value: Uint8Array): boolean => ++seen > 0 && value.length > 0;
  start = performance.now();
  for (const key of wanted) runs[0]!.find(key)?.get(key);
  print('cached get, one run', wanted.length, 'lookup', start);
  start = performance.now();
  for (const key of wanted) void lookup(runs, key, visit);
  print('cached lookup, found in the newest of four runs', wanted.length, 'lookup', start);
  start = performance.now();
  for (let i = 0; i < wanted.length; i++)
    void lookup(runs, chunkLikeKey(1, i * 7 + 3), () => false);
  print('cached lookup through all four runs', wanted.length, 'lookup', start);
  console.log(`  (${seen} found)`);

  start = performance.now();
  const scanned = await count(runs[0]!.cursor(compactionScan()));
  print('scan, cached', scanned, 'entry', start);
  start = performance.now();
  const inMemory = mergeCursors(
    lists.map((list) => cursorOf(list)),
    takeNewest,
    true,
  );
  print('merge of four in memory', await count(inMemory), 'key', start);
  start = performance.now();
  const merged = runs.map((run) => run.cursor(compactionScan()));
  print(
    'merge of four runs, cached',
    await count(mergeCursors(merged, takeNewest, true)),
    'key',
    start,
  );
  for (const run of runs) for (const table of run.tables) world.cache.drop(table.descriptor.id);
  start = performance.now();
  await compact(world, TABLE_DEFAULTS, { runs, isBottom: true, combine: takeNewest, ...ids });
  print('compaction of four runs, all inline', ENTRIES, 'entry', start, bytes);
  world.memory.objects.clear();
}

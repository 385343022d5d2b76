import { test } from 'node:test';
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { compareBytes } from '../../base/bytes.ts';
import { createSeededRng } from '../../base/rng.ts';
import type { Entry } from './cursor.ts';
import { lookup, openRun, runBytes, SortedRun } from './run.ts';
import type { Run } from './run.ts';
import { writeRun } from './run-writer.ts';
import { cursorOf } from './cursor.ts';
import { compactionScan } from './table-cursor.ts';
import { createTestWorld, drain, entryTexts, hex, putTable, randomEntries } from './testing.ts';
import { rejectsWith, sortedEntries, testTableName, TINY_SETTINGS } from './testing.ts';
import type { TestWorld } from './testing.ts';

let lastId = 0;

async function putRun(world: TestWorld, list: readonly Entry[]): Promise<SortedRun> {
  const run = await writeRun(world, world.settings, cursorOf(list), {
    cause: 'flush',
    allocateId: () => ++lastId,
    nameOf: testTableName,
  });
  return openRun(world, world.settings, run, (table) => testTableName(table.id));
}

const key = fc
  .array(fc.integer({ min: 0, max: 2 }), { maxLength: 6 })
  .map((b) => Uint8Array.from(b));
const list = fc
  .array(fc.record({ key, value: fc.uint8Array({ minLength: 1, maxLength: 90 }) }), {
    maxLength: 80,
  })
  .map(sortedEntries);

test('a lookup visits the values of a key newest first, until it has enough', async () => {
  const cacheBytes = fc.constantFrom(0, 1000, 1_000_000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(list, { maxLength: 5 }),
      cacheBytes,
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom(1, 300, 2000),
      async (lists, budget, enough, tableBytes) => {
        const world = createTestWorld({ ...TINY_SETTINGS, tableBytes }, budget);
        const runs: SortedRun[] = [];
        for (const one of lists) runs.push(await putRun(world, one));
        for (const { key: wanted } of lists.flat()) {
          const seen: string[] = [];
          await lookup(runs, wanted, (value) => seen.push(hex(value)) === enough);
          const all = lists.flatMap((one) => one.filter((e) => compareBytes(e.key, wanted) === 0));
          deepEqual(
            seen,
            all.slice(0, enough).map((e) => hex(e.value)),
          );
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('a lookup takes no promise when all blocks are cached', async () => {
  const world = createTestWorld();
  const entries = randomEntries(createSeededRng(1), 300);
  const runs = [await putRun(world, entries), await putRun(world, entries)];
  ok(runs[0]!.tables.length > 2);
  for (const run of runs) for (const table of run.tables) await table.preload({ cause: 'open' });
  let visits = 0;
  for (const { key: wanted } of entries) {
    equal(
      lookup(runs, wanted, () => ++visits < 0),
      undefined,
    );
  }
  equal(visits, 600);
});

test('the failure of a lookup reaches its caller', async () => {
  const world = createTestWorld();
  const run = await putRun(world, randomEntries(createSeededRng(1), 10));
  const { objectName, descriptor } = run.tables[0]!;
  world.memory.objects.get(objectName)![3]! ^= 1;
  await rejectsWith(
    lookup([run], descriptor.firstKey, () => true),
    'corrupt',
  );
});

test('a run is scanned across its tables, within bounds', async () => {
  const bound = fc.option(key, { nil: undefined });
  await fc.assert(
    fc.asyncProperty(list, bound, bound, fc.boolean(), async (entries, from, to, ahead) => {
      const world = createTestWorld({ ...TINY_SETTINGS, tableBytes: 400 });
      const run = await putRun(world, entries);
      const options = { cause: 'lookup', from, to, keep: false, readAhead: ahead } as const;
      const wanted = entries.filter(
        (entry) =>
          (from === undefined || compareBytes(entry.key, from) >= 0) &&
          (to === undefined || compareBytes(entry.key, to) < 0),
      );
      deepEqual(await drain(run.cursor(options)), entryTexts(wanted));
    }),
    { numRuns: 100 },
  );
});

test('a scan opens no table outside its bounds', async () => {
  const world = createTestWorld();
  const entries = randomEntries(createSeededRng(2), 400);
  const run = await putRun(world, entries);
  const table = run.tables[3]!;
  const from = table.descriptor.firstKey;
  const to = run.tables[4]!.descriptor.firstKey;
  await drain(run.cursor({ ...compactionScan(), from, to }));
  ok(world.gets.every((get) => get.key === table.objectName));
});

test('a written run keeps its tables below the target and its entries complete', async () => {
  const world = createTestWorld({ ...TINY_SETTINGS, tableBytes: 3000 });
  const entries = randomEntries(createSeededRng(3), 500);
  const run = await putRun(world, entries);
  const descriptors = run.tables.map((table) => table.descriptor);
  ok(descriptors.length > 5);
  equal(
    descriptors.reduce((sum, table) => sum + table.entries, 0),
    500,
  );
  ok(descriptors.every((table) => table.bytes < 4000));
  const stored = [...world.memory.objects.values()].reduce((sum, object) => sum + object.length, 0);
  equal(runBytes({ tables: descriptors }), stored);
  deepEqual(await drain(run.cursor(compactionScan())), entryTexts(entries));
});

test('a source without entries writes a run without tables', async () => {
  const world = createTestWorld();
  const run = await putRun(world, []);
  equal(run.tables.length, 0);
  equal(await run.cursor(compactionScan()).next(), false);
});

test('a table id that is taken is an error, and nothing goes on behind it', async () => {
  const world = createTestWorld();
  await putTable(world, 5, randomEntries(createSeededRng(1), 3));
  const entries = cursorOf(randomEntries(createSeededRng(3), 500));
  const allocateId = (): number => 5;
  const options = { cause: 'flush', allocateId, nameOf: testTableName } as const;
  await rejectsWith(writeRun(world, world.settings, entries, options), 'exists');
  equal(world.memory.objects.size, 1);
});

test('tables that overlap are no run', async () => {
  const world = createTestWorld();
  const entries = randomEntries(createSeededRng(1), 30);
  const a = await putTable(world, 1, entries);
  const b = await putTable(world, 2, entries.slice(10));
  throws(() => new SortedRun([a, b]), /do not overlap/);
  const run: Run = { tables: [] };
  equal(new SortedRun(run.tables.map(() => a)).tables.length, 0);
});

import { test } from 'node:test';
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { createSeededRng } from '../../base/rng.ts';
import type { Clock } from '../../base/clock.ts';
import { cursorOf } from '../table/cursor.ts';
import type { Entry } from '../table/cursor.ts';
import { takeNewest } from '../table/merge.ts';
import type { Combine } from '../table/merge.ts';
import { openRun } from '../table/run.ts';
import type { Run, SortedRun } from '../table/run.ts';
import { writeRun } from '../table/run-writer.ts';
import { TABLE_DEFAULTS } from '../table/settings.ts';
import { compactionScan } from '../table/table-cursor.ts';
import { createTestWorld, drain, entryTexts, frozenClock, hex } from '../table/testing.ts';
import { randomEntries, rejectsWith, sortedEntries, TINY_SETTINGS } from '../table/testing.ts';
import { testTableName } from '../table/testing.ts';
import type { TestWorld } from '../table/testing.ts';
import { compact } from './executor.ts';
import type { CompactionOptions } from './executor.ts';

function createIds(): {
  readonly allocateId: () => number;
  readonly nameOf: (id: number) => string;
} {
  let last = 0;
  return { allocateId: () => ++last, nameOf: testTableName };
}

function open(world: TestWorld, run: Run): SortedRun {
  return openRun(world, world.settings, run, (table) => testTableName(table.id));
}

async function putRuns(
  world: TestWorld,
  lists: readonly (readonly Entry[])[],
  ids = createIds(),
): Promise<SortedRun[]> {
  const runs: SortedRun[] = [];
  for (const list of lists) {
    const options = { cause: 'flush', ...ids } as const;
    runs.push(open(world, await writeRun(world, world.settings, cursorOf(list), options)));
  }
  return runs;
}

const key = fc
  .array(fc.integer({ min: 0, max: 3 }), { maxLength: 5 })
  .map((b) => Uint8Array.from(b));
const value = fc.uint8Array({ minLength: 1, maxLength: 80 });
const list = fc.array(fc.record({ key, value }), { maxLength: 60 }).map(sortedEntries);

/** Values add up; one that ends in an even byte is a deletion, which goes away at the bottom. */
const combine: Combine = (_key, values, isBottom) => {
  if (isBottom && values[0]!.at(-1)! % 2 === 0) return undefined;
  return Uint8Array.from(values.flatMap((one) => [...one]));
};

test('a compaction holds what a Map of the same entries would', async () => {
  const budget = fc.constantFrom(0, 100_000);
  const tableBytes = fc.constantFrom(1, 500, 100_000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(list, { minLength: 1, maxLength: 5 }),
      budget,
      tableBytes,
      fc.boolean(),
      async (lists, cacheBytes, target, isBottom) => {
        const world = createTestWorld({ ...TINY_SETTINGS, tableBytes: target }, cacheBytes);
        const ids = createIds();
        const runs = await putRuns(world, lists, ids);
        const merged = await compact(world, world.settings, { runs, isBottom, combine, ...ids });
        const byKey = new Map<
          string,
          { readonly key: Uint8Array; readonly values: Uint8Array[] }
        >();
        for (const entry of lists.flat()) {
          const known = byKey.get(hex(entry.key)) ?? { key: entry.key, values: [] };
          known.values.push(entry.value);
          byKey.set(hex(entry.key), known);
        }
        const wanted: Entry[] = [];
        for (const one of byKey.values()) {
          const result = combine(one.key, one.values, isBottom);
          if (result !== undefined) wanted.push({ key: one.key, value: result });
        }
        const found = await drain(open(world, merged).cursor(compactionScan()));
        deepEqual(found, entryTexts(sortedEntries(wanted)));
      },
    ),
    { numRuns: 80 },
  );
});

test('a compaction reads by large GETs, under its own cause, and deletes nothing', async () => {
  const world = createTestWorld({ ...TINY_SETTINGS, tableBytes: 20_000, scanBytes: 1_000_000 });
  const rng = createSeededRng(1);
  const ids = createIds();
  const runs = await putRuns(world, [randomEntries(rng, 900), randomEntries(rng, 900)], ids);
  const before = [...world.memory.objects.keys()];
  const tables = runs.reduce((sum, run) => sum + run.tables.length, 0);
  const options = { runs, isBottom: true, combine: takeNewest, ...ids };
  await compact(world, world.settings, options);
  // The tail and one piece of each table.
  equal(world.gets.length, tables * 2);
  ok(world.gets.every((get) => get.cause === 'compaction'));
  ok(before.every((name) => world.memory.objects.has(name)));
  equal(world.cache.bytes, 0);
});

test('the event loop gets its turns, by the clock and by the number of entries', async () => {
  const rng = createSeededRng(2);
  for (const msPerLook of [0, 1, 10]) {
    let now = 0;
    let turns = 0;
    const clock: Clock = {
      ...frozenClock,
      monotonicMs: () => (now += msPerLook),
      yieldTurn: async () => {
        turns += 1;
      },
    };
    const world = { ...createTestWorld(TABLE_DEFAULTS), clock };
    const runs = await putRuns(world, [randomEntries(rng, 20_000)]);
    turns = 0;
    let lastId = 1_000_000;
    const ids = { allocateId: () => ++lastId, nameOf: testTableName };
    await compact(world, world.settings, { runs, isBottom: true, combine: takeNewest, ...ids });
    const wanted = { 0: 2, 1: 26, 10: 78 }[msPerLook]!;
    equal(turns, wanted, `${msPerLook} ms`);
  }
});

async function abortAfter(
  puts: number,
): Promise<{ readonly stored: number; readonly wanted: number }> {
  const world = createTestWorld();
  const ids = createIds();
  const runs = await putRuns(world, [randomEntries(createSeededRng(3), 2000)], ids);
  const controller = new AbortController();
  const before = world.memory.objects.size;
  const store = {
    ...world.store,
    async putIfAbsent(...args: Parameters<typeof world.store.putIfAbsent>): Promise<void> {
      if (world.memory.objects.size - before >= puts) controller.abort();
      await world.memory.putIfAbsent(...args);
    },
  };
  const { signal } = controller;
  const options: CompactionOptions = { runs, isBottom: true, combine: takeNewest, signal, ...ids };
  await rejectsWith(compact({ ...world, store }, world.settings, options), 'aborted');
  const stored = world.memory.objects.size - before;
  await new Promise((resolve) => setImmediate(resolve));
  equal(world.memory.objects.size - before, stored, 'nothing went on behind the failure');
  return { stored, wanted: puts };
}

test('a compaction that is given up is `aborted`, and nothing goes on behind it', async () => {
  for (const puts of [0, 1, 5]) {
    const { stored, wanted } = await abortAfter(puts);
    equal(stored, wanted);
  }
});

test('damage to an input, or a missing one, ends it with that error', async () => {
  const world = createTestWorld();
  const ids = createIds();
  const runs = await putRuns(world, [randomEntries(createSeededRng(4), 500)], ids);
  const options = { runs, isBottom: true, combine: takeNewest, ...ids };
  const name = runs[0]!.tables.at(-1)!.objectName;
  world.memory.objects.get(name)![10]! ^= 1;
  await rejectsWith(compact(world, world.settings, options), 'corrupt');
  world.memory.objects.get(name)![10]! ^= 1;
  world.memory.objects.delete(runs[0]!.tables[0]!.objectName);
  await rejectsWith(compact(world, world.settings, options), 'notFound');
});

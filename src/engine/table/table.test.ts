import { test } from 'node:test';
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { compareBytes } from '../../base/bytes.ts';
import { createSeededRng } from '../../base/rng.ts';
import type { Entry } from './cursor.ts';
import { openTable } from './reader.ts';
import { TABLE_DEFAULTS } from './settings.ts';
import type { TableSettings } from './settings.ts';
import { compactionScan, TableCursor } from './table-cursor.ts';
import type { ScanOptions } from './table-cursor.ts';
import * as testing from './testing.ts';

const { createTestWorld, drain, entryTexts, putTable, randomEntries, TINY_SETTINGS } = testing;

const SCAN: ScanOptions = { cause: 'lookup', keep: true, readAhead: false };

const key = fc
  .array(fc.integer({ min: 0, max: 3 }), { maxLength: 7 })
  .map((b) => Uint8Array.from(b));
const entries = fc
  .array(fc.record({ key, value: fc.uint8Array({ maxLength: 200 }) }), {
    minLength: 1,
    maxLength: 120,
  })
  .map(testing.sortedEntries);
const settings: fc.Arbitrary<TableSettings> = fc.record({
  blockBytes: fc.constantFrom(1, 64, 300, 16_384),
  filterBitsPerKey: fc.constantFrom(0, 3, 10),
  compression: fc.constantFrom('lz4', 'zstd', 'none'),
  sealBytes: fc.constantFrom(1, 500, 1_000_000),
  tableBytes: fc.constant(1_000_000),
  scanBytes: fc.constantFrom(1, 300, 1_000_000),
  preloadBytes: fc.constantFrom(1, 700, 1_000_000),
});
const cacheBytes = fc.constantFrom(0, 1500, testing.BIG_CACHE_BYTES);

function inRange(list: readonly Entry[], from?: Uint8Array, to?: Uint8Array): Entry[] {
  return list.filter(
    (entry) =>
      (from === undefined || compareBytes(entry.key, from) >= 0) &&
      (to === undefined || compareBytes(entry.key, to) < 0),
  );
}

test('lookups and scans give what a Map would, whatever the settings and the cache', async () => {
  const bound = fc.option(key, { nil: undefined });
  const scans = fc.array(fc.tuple(bound, bound, fc.boolean(), fc.boolean()), { maxLength: 6 });
  const wanted = fc.array(key, { maxLength: 10 });
  await fc.assert(
    fc.asyncProperty(
      entries,
      settings,
      cacheBytes,
      fc.boolean(),
      scans,
      wanted,
      async (list, tuned, budget, preload, ranges, others) => {
        const world = createTestWorld(tuned, budget);
        const table = await putTable(world, 1, list);
        if (preload) await table.preload({ cause: 'open' });
        const model = new Map(list.map((entry) => [String(entry.key), entry.value]));
        for (const one of [...others, ...list.map((entry) => entry.key)]) {
          const found = await table.get(one);
          deepEqual(
            found && testing.hex(found),
            model.get(String(one)) && testing.hex(model.get(String(one))!),
          );
        }
        for (const [from, to, keep, readAhead] of ranges) {
          const cursor = new TableCursor(table, { cause: 'lookup', from, to, keep, readAhead });
          deepEqual(await drain(cursor), entryTexts(inRange(list, from, to)));
          equal(await cursor.next(), false);
        }
        ok(world.cache.bytes <= budget);
      },
    ),
    { numRuns: 150 },
  );
});

test('the descriptor describes the object', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(2), 100);
  const { descriptor, objectName } = await putTable(world, 7, list);
  equal(descriptor.id, 7);
  equal(descriptor.entries, 100);
  equal(descriptor.bytes, world.memory.objects.get(objectName)!.length);
  deepEqual(descriptor.firstKey, list[0]!.key);
  deepEqual(descriptor.lastKey, list[99]!.key);
});

test('a cold lookup takes one GET for the tail and one for the block, then none', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(3), 200);
  const table = await putTable(world, 1, list);
  const { key: wanted, value } = list[77]!;
  const cold = table.get(wanted);
  ok(cold instanceof Promise);
  deepEqual(await cold, value);
  const { bytes, tailBytes } = table.descriptor;
  equal(world.gets.length, 2);
  deepEqual(world.gets[0]!.range, { start: bytes - tailBytes, end: bytes });
  deepEqual(table.get(wanted), value);
  equal(world.gets.length, 2);
});

test('lookups that run at the same time share their GETs', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(3), 200);
  const table = await putTable(world, 1, list);
  const found = await Promise.all(Array.from({ length: 20 }, async () => table.get(list[50]!.key)));
  for (const value of found) deepEqual(value, list[50]!.value);
  equal(world.gets.length, 2);
});

test('the filter spares the block of a key that is not there', async () => {
  const world = createTestWorld({ ...TABLE_DEFAULTS, blockBytes: 200 });
  const list = randomEntries(createSeededRng(4), 500);
  const table = await putTable(world, 1, list);
  let passed = 0;
  for (let i = 0; i < 200; i++) {
    const before = world.gets.length;
    equal(await table.get(testing.chunkLikeKey(900, i)), undefined);
    if (world.gets.length > before) passed += 1;
  }
  ok(passed <= 8, `${passed} of 200`);
});

test('a tail that was loaded when the table was opened is not fetched again', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(3), 200);
  const table = await putTable(world, 1, list);
  const tail = await table.tail('open');
  equal(table.tail('lookup'), tail);
  deepEqual(await table.get(list[9]!.key), list[9]!.value);
  deepEqual(
    world.gets.map((get) => get.cause),
    ['open', 'lookup'],
  );
});

test('a failed load is not kept: the next lookup tries again', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(5), 50);
  const table = await putTable(world, 1, list);
  const object = world.memory.objects.get(table.objectName)!;
  world.memory.objects.delete(table.objectName);
  await testing.rejectsWith(table.get(list[3]!.key), 'notFound');
  world.memory.objects.set(table.objectName, object);
  deepEqual(await table.get(list[3]!.key), list[3]!.value);
});

test('a scan reads neighbouring blocks by few GETs, and only what is not cached', async () => {
  const world = createTestWorld({ ...TABLE_DEFAULTS, blockBytes: 1024 });
  const list = randomEntries(createSeededRng(6), 2000);
  const table = await putTable(world, 1, list);
  deepEqual(await drain(new TableCursor(table, SCAN)), entryTexts(list));
  equal(world.gets.length, 2);
  deepEqual(await drain(new TableCursor(table, SCAN)), entryTexts(list));
  equal(world.gets.length, 2);
});

test('the scan of a compaction leaves the cache as it was', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(7), 300);
  const table = await putTable(world, 1, list);
  await table.get(list[150]!.key);
  const before = world.cache.stats();
  deepEqual(await drain(new TableCursor(table, compactionScan())), entryTexts(list));
  deepEqual(world.cache.stats(), before);
  ok(world.gets.slice(2).every((get) => get.cause === 'compaction'));
});

test('a preload brings everything: lookups and scans afterwards take no promise', async () => {
  for (const preloadBytes of [1, 2000, 1_000_000]) {
    const world = createTestWorld({ ...TINY_SETTINGS, preloadBytes });
    const list = randomEntries(createSeededRng(8), 300);
    const table = await putTable(world, 1, list);
    await table.preload({ cause: 'open' });
    const count = world.gets.length;
    for (const entry of list) deepEqual(table.get(entry.key), entry.value);
    const cursor = new TableCursor(table, SCAN);
    for (const entry of list) {
      equal(cursor.next(), true);
      deepEqual(cursor.value, entry.value);
    }
    equal(cursor.next(), false);
    equal(world.gets.length, count);
    if (preloadBytes === 1_000_000) equal(count, 1);
  }
});

test('a reader of a dropped table goes on, uncached', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(9), 100);
  const table = await putTable(world, 1, list);
  await table.preload({ cause: 'open' });
  world.cache.drop(1);
  equal(world.cache.bytes, 0);
  for (const entry of list) deepEqual(await table.get(entry.key), entry.value);
  equal(world.cache.bytes, 0);
});

test('a table opened again finds what an earlier reader cached', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(10), 100);
  const table = await putTable(world, 1, list);
  await table.preload({ cause: 'open' });
  const again = openTable(world, world.settings, table.descriptor, table.objectName);
  deepEqual(again.get(list[60]!.key), list[60]!.value);
});

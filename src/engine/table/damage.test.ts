// A damaged table: every answer is the right one or `corrupt`, never a wrong one, whatever byte was
// altered.

import { test } from 'node:test';
import { deepEqual, equal, ok } from 'node:assert/strict';
import { isStorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { BlockCache } from './block-cache.ts';
import type { Entry } from './cursor.ts';
import { openTable } from './reader.ts';
import type { Table } from './reader.ts';
import { TableCursor } from './table-cursor.ts';
import { createTestWorld, drain, entryTexts, hex, putTable } from './testing.ts';
import { randomEntries, rejectsWith, testTableName, TINY_SETTINGS } from './testing.ts';
import type { TestWorld } from './testing.ts';

/** The same table as a process sees it that has nothing cached. */
function reopen(world: TestWorld, table: Table): Table {
  const cache = new BlockCache(1_000_000);
  return openTable({ ...world, cache }, world.settings, table.descriptor, table.objectName);
}

/** Runs `work`; false when it failed with `corrupt`. Any other failure is passed on. */
async function intact(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (isStorageError(error, 'corrupt')) return false;
    throw error;
  }
}

interface Verdict {
  readonly lookups: number;
  readonly scan: boolean;
  readonly preload: boolean;
}

/** How many lookups still answer (rightly), and whether scan and preload do. */
async function examine(world: TestWorld, table: Table, list: readonly Entry[]): Promise<Verdict> {
  let lookups = 0;
  const reader = reopen(world, table);
  for (const { key, value } of list) {
    const found = await intact(async () => {
      const got = await reader.get(key);
      equal(got && hex(got), hex(value));
    });
    if (found) lookups += 1;
  }
  const scan = await intact(async () => {
    const options = { cause: 'lookup', keep: true, readAhead: false } as const;
    const cursor = new TableCursor(reopen(world, table), options);
    deepEqual(await drain(cursor), entryTexts(list));
  });
  const preload = await intact(async () => {
    const loaded = reopen(world, table);
    await loaded.preload({ cause: 'open' });
    for (const { key, value } of list) deepEqual(loaded.get(key), value);
  });
  return { lookups, scan, preload };
}

test('a byte altered anywhere is found, and damage to one block leaves the others', async () => {
  for (const compression of ['lz4', 'none'] as const) {
    const world = createTestWorld({ ...TINY_SETTINGS, compression });
    const list = randomEntries(createSeededRng(11), 7);
    const table = await putTable(world, 1, list);
    const object = world.memory.objects.get(table.objectName)!;
    const { bytes, tailBytes } = table.descriptor;
    for (let at = 0; at < object.length; at++) {
      object[at]! ^= 1 << (at % 8);
      const verdict = await examine(world, table, list);
      object[at]! ^= 1 << (at % 8);
      equal(verdict.scan, false, `byte ${at}: scan`);
      equal(verdict.preload, false, `byte ${at}: preload`);
      if (at >= bytes - tailBytes) equal(verdict.lookups, 0, `byte ${at}: tail`);
      else ok(verdict.lookups > 0 && verdict.lookups < list.length, `byte ${at}: block`);
    }
    const whole = { lookups: list.length, scan: true, preload: true };
    deepEqual(await examine(world, table, list), whole);
  }
});

test('a table that is cut short, or longer than the manifest says, is corrupt', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(12), 7);
  const table = await putTable(world, 1, list);
  const object = world.memory.objects.get(table.objectName)!;
  const longer = new Uint8Array(object.length + 1);
  longer.set(object);
  const nothing = { lookups: 0, scan: false, preload: false };
  for (const bytes of [longer, ...prefixes(object)]) {
    world.memory.objects.set(table.objectName, bytes);
    deepEqual(await examine(world, table, list), nothing, `${bytes.length} bytes`);
  }
});

function prefixes(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length));
}

test('a table in the place of another one is corrupt, even of the same size', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(13), 24);
  const first = await putTable(world, 1, list);
  const second = await putTable(world, 2, list);
  equal(first.descriptor.bytes, second.descriptor.bytes);
  world.memory.objects.set(first.objectName, world.memory.objects.get(second.objectName)!);
  const verdict = await examine(world, first, list);
  deepEqual(verdict, { lookups: 0, scan: false, preload: false });
});

test('two blocks of a table that change places are found', async () => {
  const world = createTestWorld({ ...TINY_SETTINGS, compression: 'none', blockBytes: 1 });
  const value = new Uint8Array(50);
  const list = [1, 2, 3].map((n) => ({ key: Uint8Array.of(n), value }));
  const table = await putTable(world, 1, list);
  const object = world.memory.objects.get(table.objectName)!;
  const blockBytes = (table.descriptor.bytes - table.descriptor.tailBytes) / 3;
  const first = object.slice(0, blockBytes);
  object.copyWithin(0, blockBytes, blockBytes * 2);
  object.set(first, blockBytes);
  deepEqual(await examine(world, table, list), { lookups: 1, scan: false, preload: false });
});

test('a table is not readable with the key of another store', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(14), 10);
  const table = await putTable(world, 1, list);
  const dataKey = new Uint8Array(32).fill(1);
  const keyring = createKeyring({ dataKey, storeId: 'test-store', cipher: 'chacha20-poly1305' });
  const cache = new BlockCache(0);
  const stranger = openTable(
    { ...world, keyring, cache },
    world.settings,
    table.descriptor,
    testTableName(1),
  );
  await rejectsWith(stranger.get(list[0]!.key), 'corrupt');
});

test('a scan that failed stays failed: it never goes on behind the damage', async () => {
  const world = createTestWorld();
  const list = randomEntries(createSeededRng(15), 60);
  const table = await putTable(world, 1, list);
  world.memory.objects.get(table.objectName)![500]! ^= 1;
  const reader = reopen(world, table);
  const cursor = new TableCursor(reader, { cause: 'compaction', keep: false, readAhead: true });
  await rejectsWith(drain(cursor), 'corrupt');
  await rejectsWith(cursor.next(), 'corrupt');
});

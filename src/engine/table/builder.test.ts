import { test } from 'node:test';
import { equal, ok, rejects, throws } from 'node:assert/strict';
import { StorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createTableBuilder } from './builder.ts';
import { ENTRY_BYTES_MAX, TABLE_BYTES_MAX } from './settings.ts';
import { createTestWorld, putTable, randomEntries, rejectsWith, TINY_SETTINGS } from './testing.ts';

const NOTHING = new Uint8Array(0);

test('keys must ascend, within a block and from block to block', () => {
  for (const blockBytes of [1, 1000]) {
    const settings = { ...TINY_SETTINGS, blockBytes };
    const builder = createTableBuilder(createTestWorld(), settings, 1, 'a');
    builder.add(Uint8Array.of(1, 2), NOTHING);
    throws(() => builder.add(Uint8Array.of(1, 2), NOTHING), /ascending/);
    throws(() => builder.add(Uint8Array.of(1), NOTHING), /ascending/);
    builder.add(Uint8Array.of(1, 2, 0), NOTHING);
    equal(builder.entries, 2);
  }
});

test('a builder copies keys and values', async () => {
  const world = createTestWorld();
  const key = Uint8Array.of(0);
  const value = Uint8Array.of(0);
  function* reused(): Generator<{ key: Uint8Array; value: Uint8Array }> {
    for (let i = 0; i < 200; i++) {
      key[0] = i;
      value[0] = i + 1;
      yield { key, value };
    }
  }
  const table = await putTable(world, 1, reused());
  for (let i = 0; i < 200; i++) equal((await table.get(Uint8Array.of(i)))![0], i + 1);
});

test('the largest entry has a block of its own and comes back', async () => {
  const world = createTestWorld();
  const value = createSeededRng(1).bytes(ENTRY_BYTES_MAX - 1);
  const list = [1, 2, 3].map((n) => ({ key: Uint8Array.of(n), value }));
  const table = await putTable(world, 1, list);
  ok(Buffer.from((await table.get(Uint8Array.of(2)))!).equals(value));
  const builder = createTableBuilder(world, TINY_SETTINGS, 2, 'b');
  throws(() => builder.add(Uint8Array.of(1, 2), value), /at most 1 MiB/);
});

test('the estimate is near what the table weighs', async () => {
  const world = createTestWorld({ ...TINY_SETTINGS, blockBytes: 4096, compression: 'none' });
  const builder = createTableBuilder(world, world.settings, 1, 'a');
  for (const { key, value } of randomEntries(createSeededRng(1), 3000)) builder.add(key, value);
  const estimate = builder.estimatedBytes;
  const { descriptor } = await builder.finish();
  const difference = Math.abs(descriptor.bytes - estimate) / descriptor.bytes;
  ok(difference < 0.05, `${estimate} for ${descriptor.bytes}`);
});

test('a sealer that fails is reported by `finish`, and only there', async () => {
  const world = createTestWorld();
  const sealer = {
    ...world.sealer,
    seal: () => Promise.reject(new StorageError('unavailable', 'planted')),
  };
  const builder = createTableBuilder({ ...world, sealer }, TINY_SETTINGS, 1, 'a');
  for (const { key, value } of randomEntries(createSeededRng(1), 100)) {
    builder.add(key, value);
    await Promise.resolve();
  }
  await rejectsWith(builder.finish(), 'unavailable');
});

test('a table without entries, or larger than the format allows, is a mistake', async () => {
  const world = createTestWorld();
  await rejects(createTableBuilder(world, TINY_SETTINGS, 1, 'a').finish(), /at least one entry/);
  const settings = { ...TINY_SETTINGS, tableBytes: TABLE_BYTES_MAX + 1 };
  throws(() => createTableBuilder(world, settings, 1, 'a'), /TABLE_BYTES_MAX/);
});

import { test } from 'node:test';
import { deepEqual, equal } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { BlockCache } from './block-cache.ts';
import type { TableDescriptor } from './descriptor.ts';
import { openTable } from './reader.ts';
import { TABLE_DEFAULTS } from './settings.ts';
import { compactionScan, TableCursor } from './table-cursor.ts';
import { buildFixture, fixtureEntries, fixtureKeyring, TABLE_FIXTURES } from './table-fixture.ts';
import { createTestWorld, drain, entryTexts } from './testing.ts';

/** As the manifest of the day held them. */
const SIZES: Readonly<Record<number, { readonly bytes: number; readonly tailBytes: number }>> = {
  1: { bytes: 1572, tailBytes: 314 },
  2: { bytes: 782, tailBytes: 281 },
};

for (const fixture of TABLE_FIXTURES) {
  test(`the frozen table ${fixture.cipher} ${fixture.compression} is still read`, async () => {
    const object = new Uint8Array(await readFile(fixture.file));
    const entries = fixtureEntries();
    const world = createTestWorld(TABLE_DEFAULTS);
    world.memory.objects.set(fixture.objectName, object);
    const descriptor: TableDescriptor = {
      id: fixture.id,
      ...SIZES[fixture.id]!,
      entries: entries.length,
      firstKey: entries[0]!.key,
      lastKey: entries.at(-1)!.key,
    };
    // The cipher of the object counts, not that of the keyring.
    const deps = {
      ...world,
      cache: new BlockCache(100_000),
      keyring: fixtureKeyring('chacha20-poly1305'),
    };
    const table = openTable(deps, TABLE_DEFAULTS, descriptor, fixture.objectName);
    for (const { key, value } of entries) deepEqual(await table.get(key), value);
    deepEqual(await drain(new TableCursor(table, compactionScan())), entryTexts(entries));
    equal(object.length, descriptor.bytes);
  });
}

test('the same entries and salt still give the same bytes', async () => {
  // Uncompressed: the bytes that a compressor gives are not part of the format.
  const fixture = TABLE_FIXTURES[0]!;
  const { body } = await buildFixture(fixture);
  deepEqual(Buffer.concat(body), await readFile(fixture.file));
});

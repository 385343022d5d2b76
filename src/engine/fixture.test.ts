// Whole stores, frozen: every kind of object that a small history leaves behind. Today's code must
// read those of every version, and the same history must still make the newest one's bytes. After a
// change of format that was meant, with its new version: VARVE_UPDATE_FIXTURES=1 node --test
// src/engine/fixture.test.ts, under a new file name.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createSeededRng } from '../base/rng.ts';
import { silentLog } from '../base/log.ts';
import { createInlineSealer } from '../codec/sealer.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import { createMemoryStore, type MemoryStore } from '../objectstore/memory.ts';
import { type Database, initStore, openDatabase } from './db.ts';
import { INIT_OPTIONS, noise, PASSPHRASE, TINY } from './testing.ts';

const FOLDER = new URL('../../test/fixtures/store/', import.meta.url);
/** The manifest's version: 2 brought live counts, data objects, snapshots, branches; 3 journals. */
const VERSIONS = [1, 2, 3];
const NEWEST = VERSIONS.at(-1)!;
const INODE = 16;
const SIZE = 600_000;
/** Segments of one write count as small, and a few of them are joined into a data object. */
const JOINED = { segmentBytes: 1024 * 1024, smallSegmentsMax: 8 };

/** Compresses well, so that the fixture stays small. */
function pattern(seed: number): Uint8Array {
  return Buffer.alloc(20_000, noise(seed, 64));
}

/** What the history below leaves in the file. */
function expected(): Uint8Array {
  const content = new Uint8Array(SIZE);
  for (let i = 0; i < 20; i++) content.set(pattern(i), i * 30_000);
  content.fill(0, 100_000, 250_000);
  content.set(Buffer.alloc(9000, 'varve '), 123_456);
  return content;
}

async function openOn(store: MemoryStore, seed: number, readOnly = false): Promise<Database> {
  const clock = createManualClock();
  const rng = createSeededRng(seed);
  const components = { store, sealer: createInlineSealer(), clock, rng, log: silentLog };
  return openDatabase(components, { passphrase: PASSPHRASE, ...TINY, ...JOINED, readOnly });
}

/**
 * Flushes, merges, collects, takes a snapshot, closes cleanly, opens again, leaves a log behind.
 */
async function history(): Promise<MemoryStore> {
  const store = createMemoryStore();
  await initStore({ store, rng: createSeededRng(1), clock: createManualClock() }, INIT_OPTIONS);
  let db = await openOn(store, 2);
  for (let i = 0; i < 20; i++) {
    await db.write(INODE, i * 30_000, pattern(i));
    await db.barrier();
    await db.settled();
  }
  for (let i = 0; i < 20; i++) {
    await db.write(INODE, i * 30_000, pattern(i).subarray(0, 9000));
    await db.settled();
  }
  await db.collect(() => {});
  await db.roots.createSnapshot('snapshot');
  await db.settled();
  await db.roots.createBranch('branch', 'snapshot');
  await db.settled();
  await db.close();
  db = await openOn(store, 3);
  await db.zero(INODE, 100_000, 150_000, false);
  await db.putMeta('name', Buffer.from('value'));
  await db.write(INODE, 123_456, Buffer.alloc(9000, 'varve '));
  await db.barrier();
  return store;
}

function kindOf(key: string): string {
  return key.replace(/^branches\/[0-9a-f]{12}\//, '').split('/')[0]!;
}

async function readFixture(version: number): Promise<[string, string][]> {
  const text = await readFile(new URL(`v${version}.json`, FOLDER), 'utf8');
  return JSON.parse(text) as [string, string][];
}

test('a frozen store of every version is read, and written', async () => {
  if (process.env['VARVE_UPDATE_FIXTURES'] === '1') {
    const { objects } = await history();
    const entries = [...objects].map(([key, bytes]) => [
      key,
      Buffer.from(bytes).toString('base64'),
    ]);
    await writeFile(new URL(`v${NEWEST}.json`, FOLDER), JSON.stringify(entries, undefined, 1));
  }
  for (const version of VERSIONS) {
    const entries = await readFixture(version);
    const store = createMemoryStore();
    for (const [key, text] of entries) store.objects.set(key, Buffer.from(text, 'base64'));
    const kinds = new Set(entries.map(([key]) => kindOf(key)));
    const must = ['format.json', 'keys', 'branches', 'manifest', 'log', 'tables'];
    if (version > 1) must.push('data');
    for (const kind of must) {
      assert.ok(kinds.has(kind), `the fixture has a ${kind}`);
    }
    for (const readOnly of [true, false, false]) {
      const db = await openOn(store, 9, readOnly);
      const target = new Uint8Array(SIZE);
      await db.read(INODE, 0, target);
      assert.ok(Buffer.compare(target, expected()) === 0, `version ${version}: the content`);
      assert.equal(Buffer.from((await db.meta('name'))!).toString(), 'value');
      if (!readOnly) await db.collect(() => {});
      await db.close();
    }
  }
});

test('the same history makes the same bytes', async () => {
  const entries = await readFixture(NEWEST);
  const { objects } = await history();
  assert.deepEqual([...objects.keys()].toSorted(), entries.map(([key]) => key).toSorted());
  for (const [key, text] of entries) {
    assert.equal(Buffer.from(objects.get(key)!).toString('base64'), text, key);
  }
});

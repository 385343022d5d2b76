// A whole store of format version 1, frozen: every kind of object that a small history leaves
// behind. Today's code must read it, and the same history must still make the same bytes. After a
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

const FIXTURE = new URL('../../test/fixtures/store/v1.json', import.meta.url);
const INODE = 16;
const SIZE = 600_000;

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
  return openDatabase(components, { passphrase: PASSPHRASE, ...TINY, readOnly });
}

/** Flushes, merges runs, closes cleanly, opens again, leaves a log to replay. */
async function history(): Promise<MemoryStore> {
  const store = createMemoryStore();
  await initStore({ store, rng: createSeededRng(1), clock: createManualClock() }, INIT_OPTIONS);
  let db = await openOn(store, 2);
  for (let i = 0; i < 20; i++) {
    await db.write(INODE, i * 30_000, pattern(i));
    await db.barrier();
    await db.settled();
  }
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

test('a frozen store of version 1 is read', async () => {
  if (process.env['VARVE_UPDATE_FIXTURES'] === '1') {
    const { objects } = await history();
    const entries = [...objects].map(([key, bytes]) => [
      key,
      Buffer.from(bytes).toString('base64'),
    ]);
    await writeFile(FIXTURE, JSON.stringify(entries, undefined, 1));
  }
  const entries = JSON.parse(await readFile(FIXTURE, 'utf8')) as [string, string][];
  const store = createMemoryStore();
  for (const [key, text] of entries) store.objects.set(key, Buffer.from(text, 'base64'));
  const kinds = new Set(entries.map(([key]) => kindOf(key)));
  for (const kind of ['format.json', 'keys', 'branches', 'manifest', 'log', 'tables']) {
    assert.ok(kinds.has(kind), `the fixture has a ${kind}`);
  }
  for (const readOnly of [true, false]) {
    const db = await openOn(store, 9, readOnly);
    const target = new Uint8Array(SIZE);
    await db.read(INODE, 0, target);
    assert.ok(Buffer.compare(target, expected()) === 0, 'the content is what was written');
    assert.equal(Buffer.from((await db.meta('name'))!).toString(), 'value');
    await db.close();
  }
});

test('the same history makes the same bytes', async () => {
  const entries = JSON.parse(await readFile(FIXTURE, 'utf8')) as [string, string][];
  const { objects } = await history();
  assert.deepEqual([...objects.keys()].toSorted(), entries.map(([key]) => key).toSorted());
  for (const [key, text] of entries) {
    assert.equal(Buffer.from(objects.get(key)!).toString('base64'), text, key);
  }
});

// The table of volumes across a restore, in process: what commands cannot show.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ByteReader } from '../../src/base/bytes.ts';
import { isStorageError, StorageError } from '../../src/base/errors.ts';
import type { Database, DatabaseSettings } from '../../src/engine/db.ts';
import { createTestBed, type TestBed } from '../../src/engine/testing.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { openVolumes, type Volumes } from '../../src/volume/volumes.ts';

const BYTES = 1024 * 1024;

interface Opened {
  readonly database: Database;
  readonly volumes: Volumes;
}

/** Closed when the test is over, however it ends. */
async function open(
  t: TestContext,
  bed: TestBed,
  settings: Partial<DatabaseSettings> = {},
  store?: ObjectStore,
): Promise<Opened> {
  const database = await bed.open(settings, store);
  // One that was deposed says so when it is closed.
  t.after(() => database.close().catch(() => {}));
  return { database, volumes: await openVolumes(database, { readAheadBytes: 0 }) };
}

async function inodeOf(database: Database, name: string): Promise<number> {
  const bytes = await database.meta(`volume/${name}`);
  const reader = new ByteReader(bytes!, name);
  reader.u8();
  return reader.varint();
}

test('inode numbers of volumes that a restore drops are never given again', async (t) => {
  const bed = await createTestBed();
  const { database, volumes } = await open(t, bed);
  await volumes.create('one', BYTES);
  await database.roots.createSnapshot('base');
  await volumes.create('two', BYTES);
  await volumes.create('three', BYTES);
  const dropped = await inodeOf(database, 'three');
  await volumes.restore('base');
  assert.deepEqual(
    volumes.list().map(({ name }) => name),
    ['one'],
  );
  // No close: the restore alone has made durable which numbers were used.
  const after = await open(t, bed);
  await after.volumes.create('four', BYTES);
  assert.ok((await inodeOf(after.database, 'four')) > dropped);
});

test('a restore from before the first volume leaves none', async (t) => {
  const bed = await createTestBed();
  const { database, volumes } = await open(t, bed);
  await database.roots.createSnapshot('empty');
  await volumes.create('one', BYTES);
  const before = await inodeOf(database, 'one');
  await volumes.restore('empty');
  assert.deepEqual(volumes.list(), []);
  await volumes.create('one', BYTES);
  assert.ok((await inodeOf(database, 'one')) > before);
});

test('while it is restored nothing is opened, and changes wait', async (t) => {
  const bed = await createTestBed();
  const { database, volumes } = await open(t, bed);
  await volumes.create('one', BYTES);
  await database.roots.createSnapshot('base');
  const handles = [volumes.open('one')];
  await volumes.create('two', BYTES);
  handles.push(volumes.open('two'));
  await assert.rejects(volumes.restore('base'), /volumes "one", "two" are in use/);
  handles[1]!.close();
  await assert.rejects(volumes.restore('base'), /volume "one" is in use: disconnect/);
  handles[0]!.close();

  const restoring = volumes.restore('base');
  const creating = volumes.create('three', BYTES);
  // One turn later the restore has begun.
  await Promise.resolve();
  assert.throws(() => volumes.open('one'), /being restored/);
  await restoring;
  volumes.open('one').close();
  await creating;
  assert.deepEqual(
    volumes.list().map(({ name }) => name),
    ['one', 'three'],
  );
});

test('a snapshot that is not there changes nothing', async (t) => {
  const bed = await createTestBed();
  const { volumes } = await open(t, bed);
  await volumes.create('one', BYTES);
  await assert.rejects(volumes.restore('none'), (error) => isStorageError(error, 'notFound'));
  volumes.open('one').close();
  await volumes.create('two', BYTES);
});

test('volumes that could not be read after a restore stay shut until they can', async (t) => {
  const bed = await createTestBed();
  let broken = false;
  const store: ObjectStore = {
    ...bed.store,
    async get(name, range, options) {
      // What the restore itself needs is read; the store fails behind it.
      if (broken && name.includes('/tables/')) throw new StorageError('unavailable', 'no store');
      return bed.store.get(name, range, options);
    },
  };
  // Nothing of a table is kept in memory.
  const { database, volumes } = await open(t, bed, { tableCacheBytes: 1 }, store);
  await volumes.create('one', BYTES);
  await database.roots.createSnapshot('base');
  await volumes.create('two', BYTES);
  broken = true;
  await assert.rejects(volumes.restore('base'), /no store/);
  assert.throws(() => volumes.open('two'), /being restored: .*restore again/);
  await assert.rejects(volumes.create('three', BYTES), /being restored/);
  await assert.rejects(volumes.restore('none'), (error) => isStorageError(error, 'notFound'));
  assert.throws(() => volumes.open('one'), /being restored/, 'a refused one opens nothing');
  broken = false;
  await volumes.restore('base');
  volumes.open('one').close();
  assert.throws(() => volumes.open('two'), /no volume "two"/);
});

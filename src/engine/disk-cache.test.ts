// The engine on a disk cache: what it holds is not fetched, and what it gives is never believed
// without a proof.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../base/rng.ts';
import { silentLog } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import { type DiskCache, openDiskCache } from '../cache/disk/disk-cache.ts';
import { MemoryDisk } from '../cache/disk/memory-disk.ts';
import { createInlineSealer } from '../codec/sealer.ts';
import { type Database, openDatabase } from './db.ts';
import { createTestBed, noise, PASSPHRASE, type TestBed, TINY } from './testing.ts';

const INODE = 16;
const SIZE = 2 * 1024 * 1024;
const NO_MEMORY = { ...TINY, cacheMemoryBytes: 0 };

interface World {
  readonly bed: TestBed;
  readonly disk: MemoryDisk;
  open(): Promise<{ readonly db: Database; readonly cache: DiskCache }>;
}

async function createWorld(): Promise<World> {
  const bed = await createTestBed();
  const disk = new MemoryDisk();
  const rng = createSeededRng(7);
  return {
    bed,
    disk,
    async open() {
      const components = { clock: systemClock, rng, log: silentLog };
      const where = { directory: '/cache', budgetBytes: 16 * 1024 * 1024 };
      const cache = await openDiskCache({ disk, ...components }, where);
      const db = await openDatabase(
        { ...components, store: bed.store, sealer: createInlineSealer(), diskCache: cache },
        { passphrase: PASSPHRASE, ...NO_MEMORY },
      );
      return { db, cache };
    },
  };
}

async function readAll(db: Database, expected: Uint8Array): Promise<void> {
  const target = new Uint8Array(SIZE);
  await db.read(INODE, 0, target);
  assert.ok(Buffer.compare(target, expected) === 0, 'the content is what was written');
}

function dataGets({ bed }: World): number {
  return bed.meter.snapshot().byCause.read.get.requests;
}

test('after a restart what the disk cache holds is read without a GET', async () => {
  const world = await createWorld();
  const content = noise(1, SIZE);
  const first = await world.open();
  await first.db.write(INODE, 0, content);
  await first.db.close();
  await first.cache.close();
  const second = await world.open();
  await readAll(second.db, content);
  assert.equal(dataGets(world), 0, 'uploads went into the cache without being read back');
  assert.ok(second.cache.stats().hits > 0);
  await second.db.close();
  await second.cache.close();
});

test('what was fetched is in the cache the next time', async () => {
  const world = await createWorld();
  const content = noise(2, SIZE);
  const plain = await world.bed.open(NO_MEMORY);
  await plain.write(INODE, 0, content);
  await plain.close();
  const { db, cache } = await world.open();
  await readAll(db, content);
  const gets = dataGets(world);
  assert.ok(gets > 0);
  await cache.flush();
  await readAll(db, content);
  assert.equal(dataGets(world), gets);
  await db.close();
  await cache.close();
});

test('a cache full of rubbish, and a disk that fails, cost GETs and nothing else', async () => {
  const world = await createWorld();
  const content = noise(3, SIZE);
  const { db, cache } = await world.open();
  await db.write(INODE, 0, content);
  await db.barrier();
  await cache.flush();
  for (const file of world.disk.files.values()) {
    for (let at = 0; at < file.length; at += 5000) file[at]! ^= 1;
  }
  await readAll(db, content);
  assert.ok(dataGets(world) > 0);
  world.disk.failing = () => true;
  await readAll(db, content);
  await db.close();
  await cache.close();
});

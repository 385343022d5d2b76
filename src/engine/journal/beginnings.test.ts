// A journal's first moments: when a server opens, when a failed one begins afresh, behind a
// restore.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createStillClock } from '../../objectstore/manual-clock.ts';
import type { Database } from '../db.ts';
import { settle } from '../follow/testing.ts';
import { noise } from '../testing.ts';
import { BLOCK, expectBlock, failAppends, INODE, JournalBed } from './testing.ts';

/** Slots are of 64 KiB then. */
const SMALL_SLOTS = { bytesMax: 1024 * 1024 };

/** Time stands still, so that no put is cut off and no segment closed. */
async function createBed(): Promise<JournalBed> {
  const bed = await JournalBed.create(11);
  bed.clock = createStillClock();
  return bed;
}

async function commitBlock(db: Database, block: number, seed: number): Promise<void> {
  await db.write(INODE, block * BLOCK, noise(seed, BLOCK));
  await db.barrier();
}

/** From here on the store never answers the put of one log object, the next; others it takes. */
function holdNextLog(bed: JournalBed): void {
  let held: string | undefined;
  bed.onPut = (key) => {
    if (key.includes('/log/')) held ??= key;
    return key === held ? new Promise(() => {}) : undefined;
  };
}

test('a journal that left its first slot before the store heard of it is taken up', async () => {
  const bed = await createBed();
  const db = await bed.open(SMALL_SLOTS);
  holdNextLog(bed);
  const slots = bed.disk.paths.length;
  // Too large for the first slot, which holds a record that changes nothing: it can go.
  await db.write(INODE, 0, noise(0, 15 * BLOCK));
  await db.barrier();
  // Later segments get through before the first does, and slots are used again.
  for (let block = 15; block < 60; block++) await commitBlock(db, block, block);
  await settle();
  assert.ok(db.status().lagBytes >= 60 * BLOCK, 'the store lacks the first segment');
  assert.ok(bed.disk.paths.length > slots);
  bed.kill();
  const again = await bed.open();
  const found = new Uint8Array(15 * BLOCK);
  await again.read(INODE, 0, found);
  assert.ok(Buffer.compare(found, noise(0, found.length)) === 0);
  for (let block = 15; block < 60; block++) await expectBlock(again, block, block);
  await again.close();
});

test('sequences from before a restore let go of no slot behind it', async () => {
  const bed = await createBed();
  const db = await bed.open(SMALL_SLOTS);
  await db.roots.createSnapshot('old');
  for (let i = 0; i < 40; i++) await commitBlock(db, 0, i);
  await db.storeBarrier();
  await db.roots.restore('old');
  holdNextLog(bed);
  for (let block = 0; block < 60; block++) await commitBlock(db, block, 100 + block);
  await settle();
  bed.kill();
  const again = await bed.open();
  for (let block = 0; block < 60; block++) await expectBlock(again, block, 100 + block);
  await again.close();
});

const COMMITS_MAX = 10;

/**
 * The disk fails, and heals; then commits go to the store until the journal begins afresh, of which
 * only the first `operations` reach the disk. Gives the seed of block 0.
 */
async function beginAfresh(
  bed: JournalBed,
  db: Database,
  operations: number,
): Promise<{ readonly seed: number; readonly isCut: boolean }> {
  const { disk } = bed;
  const hasFailed = (): boolean => db.status().journal?.failure !== undefined;
  await commitBlock(db, 0, 1);
  failAppends(disk);
  await commitBlock(db, 0, 2);
  assert.ok(hasFailed());
  let isAfresh = false;
  let left = operations;
  disk.failing = () => {
    isAfresh ||= !hasFailed();
    if (!isAfresh || left-- > 0) return undefined;
    return new StorageError('unavailable', 'the power is gone');
  };
  let seed = 2;
  while (!isAfresh) {
    assert.ok(seed < COMMITS_MAX, 'it begins afresh');
    seed += 1;
    await commitBlock(db, 0, seed);
    await settle();
  }
  return { seed, isCut: left < 0 };
}

test('there is no moment without a journal when a failed one begins afresh', async () => {
  let moments = 0;
  for (let isOver = false; !isOver; moments++) {
    // The process goes, or the power, with what the dice leave of names and sectors.
    for (let dice = 0; dice <= 4; dice++) {
      const bed = await createBed();
      const db = await bed.open({ ...SMALL_SLOTS, onFailure: 'store' });
      const before = bed.disk.paths;
      const { seed, isCut } = await beginAfresh(bed, db, moments);
      isOver = !isCut;
      if (isOver) {
        const stale = bed.disk.paths.filter((path) => before.includes(path));
        assert.deepEqual(stale, [], 'the old slots have gone');
      }
      if (dice === 0) bed.kill();
      else bed.crash(createSeededRng(dice));
      const again = await bed.open(SMALL_SLOTS);
      await expectBlock(again, 0, seed);
      await commitBlock(again, 0, 99);
      await again.close();
    }
  }
  assert.ok(moments > 3, `${moments} moments`);
});

// Branches whose creation was cut short, or crossed by another process.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError, StorageError } from '../base/errors.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import type { Database } from './db.ts';
import { withHook } from './follow/testing.ts';
import { createTestBed, noise, type TestBed } from './testing.ts';

const INODE = 16;
const FIRST_MANIFEST = /\/manifest\/0*1$/;
const INDEX = /^branches\/index\//;

function away(): StorageError {
  return new StorageError('unavailable', 'the store is away');
}

/** The first put of a matching key fails, before it happens or when it has. */
function losingPut(bed: TestBed, match: RegExp, happens: boolean): ObjectStore {
  let isOver = false;
  return {
    ...bed.memory,
    async putIfAbsent(key, body, options) {
      const isLost = !isOver && match.test(key);
      isOver ||= isLost;
      if (!isLost || happens) await bed.memory.putIfAbsent(key, body, options);
      if (isLost) throw away();
    },
  };
}

async function branchesOf(db: Database): Promise<string[]> {
  return (await db.roots.listBranches()).map(({ name }) => name);
}

test('a branch whose creation was cut short before stays gone once it is deleted', async () => {
  for (const match of [FIRST_MANIFEST, INDEX]) {
    for (const happens of [false, true]) {
      const what = `${match.source}, ${happens ? 'there' : 'not there'}`;
      const bed = await createTestBed();
      const db = await bed.open({}, losingPut(bed, match, happens), createManualClock());
      await db.write(INODE, 0, noise(1, 5000));
      await assert.rejects(db.roots.createBranch('child'), { kind: 'unavailable' }, what);
      try {
        await db.roots.createBranch('child');
      } catch (error) {
        // What the first one left has become the branch.
        if (!isStorageError(error, 'exists')) throw error;
      }
      assert.deepEqual(await branchesOf(db), ['main', 'child'], what);
      const child = await bed.open({ branch: 'child' });
      const found = new Uint8Array(5000);
      await child.read(INODE, 0, found);
      assert.deepEqual(found, noise(1, 5000), what);
      await child.close();
      await db.roots.deleteBranch('child');
      assert.deepEqual(await branchesOf(db), ['main'], what);
      await db.close();
      const again = await bed.open();
      await again.roots.reap();
      assert.deepEqual(await branchesOf(again), ['main'], what);
      await again.close();
    }
  }
});

/** Somebody deletes branch "dev" while its server creates a branch from it. */
async function crossedByDeletion(isCutShort: boolean): Promise<{
  readonly dev: Database;
  readonly creation: Promise<unknown>;
}> {
  const bed = await createTestBed();
  let devManifests = 'none';
  const mainStore = withHook(bed.memory, (request, key) => {
    if (isCutShort && request === 'put' && key.startsWith(devManifests)) throw away();
  });
  const main = await bed.open({}, mainStore, createManualClock());
  const { id } = await main.roots.createBranch('dev');
  devManifests = `branches/${id}/manifest/`;
  let deleting: Promise<void> | undefined;
  const devStore = withHook(bed.memory, async (request, key) => {
    if (request !== 'put' || !FIRST_MANIFEST.test(key) || deleting !== undefined) return;
    deleting = main.roots.deleteBranch('dev');
    if (isCutShort) await assert.rejects(deleting, { kind: 'unavailable' });
    else await deleting;
  });
  const dev = await bed.open({ branch: 'dev' }, devStore, createManualClock());
  await dev.write(INODE, 0, noise(1, 5000));
  return { dev, creation: dev.roots.createBranch('child') };
}

test('a branch that was given up while it was created is told as that', async () => {
  const { dev, creation } = await crossedByDeletion(true);
  await assert.rejects(creation, {
    kind: 'aborted',
    message: /took over, or is deleting, the branch that "child" was to stand on/,
  });
  // Whoever was deleting has not got to our branch: it goes on, and the name is free.
  const { name } = await dev.roots.createBranch('child');
  assert.equal(name, 'child');
  await dev.roots.reap();
  assert.deepEqual(await branchesOf(dev), ['main', 'dev', 'child']);
  await dev.close();
});

test('a branch from one that was deleted meanwhile is not told to be created', async () => {
  const { dev, creation } = await crossedByDeletion(false);
  await assert.rejects(creation, { kind: 'fenced' });
  assert.equal((await dev.failed).kind, 'fenced');
});

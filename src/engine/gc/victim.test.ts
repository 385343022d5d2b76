// What collection asks the store for: bytes that memory holds are not fetched to be moved.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { createTestBed, noise } from '../testing.ts';

const INODE = 16;
const BLOCK_BYTES = 4096;
const BLOCKS = 512;

/** Overwrites at random and collects. Gives how many ranges of data were fetched for that. */
async function fetchedRanges(cacheMemoryBytes: number): Promise<number> {
  const bed = await createTestBed();
  let ranges = 0;
  const watched: ObjectStore = {
    ...bed.store,
    get(key, range, options) {
      const isData = !key.includes('/tables/');
      // The record at the end of an object is a suffix.
      const isFrames = isData && range !== undefined && 'start' in range;
      if (options.cause === 'collection' && isFrames) ranges += 1;
      return bed.store.get(key, range, options);
    },
  };
  const db = await bed.open({ garbageSoft: 0.1, garbageHard: 0.3, cacheMemoryBytes }, watched);
  const model = noise(1, BLOCKS * BLOCK_BYTES);
  await db.write(INODE, 0, model);
  for (let i = 0; i < 4 * BLOCKS; i++) {
    const at = ((i * 293) % BLOCKS) * BLOCK_BYTES;
    model.set(noise(i, BLOCK_BYTES), at);
    await db.write(INODE, at, model.subarray(at, at + BLOCK_BYTES));
    if (i % 50 === 49) await db.barrier();
  }
  await db.collect(() => {});
  assert.ok(db.status().collection.movedBytes > 0, 'live blocks were moved');
  await db.close();

  const again = await bed.open({ cacheMemoryBytes: 0 });
  const found = new Uint8Array(model.length);
  await again.read(INODE, 0, found);
  assert.ok(Buffer.compare(found, model) === 0, 'what was moved is what was written');
  await again.close();
  return ranges;
}

test('what memory holds is moved without a look at the store', async () => {
  assert.equal(await fetchedRanges(64 * 1024 * 1024), 0);
});

test('what it does not hold is fetched: the test above can fail', async () => {
  assert.ok((await fetchedRanges(0)) > 0);
});

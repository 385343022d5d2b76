import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { createTestBed, noise } from './testing.ts';

const INODE = 16;
const BLOCK_BYTES = 4096;
/** More than what fits into memory on its way to a store that takes nothing. */
const BLOCKS = 200;

test('writes that wait for memory can be refused without a trace', async () => {
  const bed = await createTestBed();
  const light = Promise.withResolvers<void>();
  let dark = false;
  const store: ObjectStore = {
    ...bed.memory,
    async putIfAbsent(key, body, options) {
      if (dark) await light.promise;
      await bed.memory.putIfAbsent(key, body, options);
    },
  };
  const database = await bed.open({}, store, createManualClock());
  dark = true;
  const refused = new StorageError('unavailable', 'no writes are taken');
  const outcomes: Promise<boolean>[] = [];
  let answered = 0;
  for (let block = 0; block < BLOCKS; block++) {
    const writing = database.write(INODE, block * BLOCK_BYTES, noise(block, BLOCK_BYTES));
    const done = Promise.resolve(writing).then(
      () => {
        answered += 1;
        return true;
      },
      (error: unknown) => {
        assert.equal(error, refused);
        return false;
      },
    );
    outcomes.push(done);
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(answered > 0 && answered < BLOCKS, 'some wait');
  database.refuseWaiting(refused);
  const taken = await Promise.all(outcomes);
  assert.equal(taken.filter(Boolean).length, answered);
  dark = false;
  light.resolve();
  await database.barrier();
  const found = new Uint8Array(BLOCK_BYTES);
  for (const [block, was] of taken.entries()) {
    await database.read(INODE, block * BLOCK_BYTES, found);
    const expected = was ? noise(block, BLOCK_BYTES) : new Uint8Array(BLOCK_BYTES);
    assert.deepEqual(found, expected, `block ${block}`);
  }
  await database.write(INODE, 0, noise(1, BLOCK_BYTES));
  await database.close();
});

// A writer that was deposed and does not know it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { createTestBed, noise } from './testing.ts';

const INODE = 16;

test('a snapshot that a successor has dropped is not told to be taken', async () => {
  const bed = await createTestBed();
  const tries: string[] = [];
  /** A successor finds the snapshot, drops it, and deletes the manifest that took it. */
  const succeed = async (key: string): Promise<void> => {
    const successor = await bed.open({}, bed.memory, createManualClock());
    await successor.roots.deleteSnapshot('monday');
    await successor.collect(() => {});
    assert.ok(!bed.memory.objects.has(key), 'its number is free again');
    await successor.close();
  };
  const store: ObjectStore = {
    ...bed.memory,
    async putIfAbsent(key, body, options) {
      const isRoots = options.cause === 'admin' && key.includes('/manifest/');
      if (isRoots) tries.push(key);
      if (isRoots && tries.length === 2) await succeed(key);
      await bed.memory.putIfAbsent(key, body, options);
      if (isRoots && tries.length === 1) throw new StorageError('unavailable', 'no reply');
    },
  };
  const deposed = await bed.open({}, store, createManualClock());
  await deposed.write(INODE, 0, noise(1, 5000));
  await assert.rejects(deposed.roots.createSnapshot('monday'), { kind: 'fenced' });
  assert.equal(tries.length, 2);
  assert.equal(tries[0], tries[1]);
  assert.ok(bed.memory.objects.has(tries[0]!), 'what it offered again is there');
  assert.equal((await deposed.failed).kind, 'fenced');
  const again = await bed.open({}, bed.memory, createManualClock());
  assert.deepEqual(await again.roots.listSnapshots(), []);
  await again.close();
});

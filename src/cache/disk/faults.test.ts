import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Log } from '../../base/log.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { RETRY_MS } from './breaker.ts';
import { type DiskOperation, MemoryDisk } from './memory-disk.ts';
import { check, insert, openOn, SLAB_BYTES, saltOf } from './testing.ts';

interface Watched {
  readonly warnings: string[];
  readonly log: Log;
}

function watchedLog(): Watched {
  const warnings: string[] = [];
  const note = (event: string): void => {
    warnings.push(event);
  };
  return { warnings, log: { debug: () => {}, info: () => {}, warn: note, error: note } };
}

test('a full disk stops the writes, not the reads, and is tried again', async () => {
  const disk = new MemoryDisk();
  const clock = createManualClock();
  const { warnings, log } = watchedLog();
  const cache = await openOn(disk, { slabs: 16, clock, log });
  disk.capacityBytes = 3 * SLAB_BYTES;
  for (let object = 0; object < 60; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
  }
  assert.equal(cache.stats().failed, true);
  assert.deepEqual(warnings, ['disk-cache.failed']);
  assert.ok(cache.stats().dropped > 100);
  assert.equal(cache.stats().queuedBytes, 0, 'nothing is kept for later');
  assert.equal(await check(cache, 0, 0, 4), true, 'what is there can be read');
  const writes = disk.counts.write;
  insert(cache, 900, 0, 1);
  await cache.flush();
  assert.equal(disk.counts.write, writes, 'a full disk is left alone');

  clock.advance(RETRY_MS);
  insert(cache, 901, 0, 1);
  await cache.flush();
  assert.equal(warnings.length, 2, 'still full');
  clock.advance(RETRY_MS);
  disk.capacityBytes = Infinity;
  insert(cache, 902, 0, 1);
  await cache.flush();
  assert.equal(cache.stats().failed, false);
  assert.equal(await check(cache, 902, 0, 1), true);
  assert.equal(await check(cache, 0, 0, 4), true);
  await cache.close();
  const again = await openOn(disk.reboot());
  assert.equal(again.stats().entries, cache.stats().entries + again.stats().entries);
  assert.equal(await check(again, 902, 0, 1), true);
});

test('a directory that cannot be used makes an empty cache, until it can', async () => {
  for (const operation of ['list', 'open', 'write', 'remove'] as const) {
    const disk = new MemoryDisk();
    disk.files.set('slab-0003', new Uint8Array(100));
    disk.failing = (failing) => failing === operation;
    const clock = createManualClock();
    const { warnings, log } = watchedLog();
    const cache = await openOn(disk, { slabs: 16, clock, log });
    for (let object = 0; object < 5; object++) {
      insert(cache, object, 0, 1);
      await cache.flush();
      assert.equal(await check(cache, object, 0, 1), false);
      assert.equal(cache.has(saltOf(object), 0), false);
    }
    assert.equal(cache.stats().failed, true);
    assert.equal(warnings.length, 1);
    disk.failing = () => false;
    clock.advance(RETRY_MS);
    insert(cache, 7, 0, 1);
    await cache.flush();
    assert.equal(await check(cache, 7, 0, 1), true);
    assert.equal(cache.stats().failed, false);
    await cache.close();
    assert.equal(disk.openFiles, 0);
  }
});

test('a failing read is a miss and costs its frames; many stop the reads for a while', async () => {
  const disk = new MemoryDisk();
  const clock = createManualClock();
  const { warnings, log } = watchedLog();
  const cache = await openOn(disk, { slabs: 16, clock, log });
  for (let object = 0; object < 20; object++) insert(cache, object, 0, 1);
  await cache.flush();
  disk.failing = (operation) => operation === 'read';
  assert.equal(await check(cache, 0, 0, 1), false);
  disk.failing = () => false;
  assert.equal(cache.has(saltOf(0), 0), false);
  assert.equal(await check(cache, 1, 0, 1), true);
  assert.equal(cache.stats().failed, false);

  disk.failing = (operation) => operation === 'read';
  for (let object = 1; object < 18; object++) assert.equal(await check(cache, object, 0, 1), false);
  assert.equal(cache.stats().failed, true);
  assert.deepEqual(warnings, ['disk-cache.read.failed']);
  disk.failing = () => false;
  assert.equal(await check(cache, 19, 0, 1), false);
  clock.advance(RETRY_MS);
  assert.equal(await check(cache, 19, 0, 1), true);
  assert.equal(cache.stats().failed, false);
});

test('whatever operation fails, whenever: no error, no wrong byte, and it comes back', async () => {
  const operations: DiskOperation[] = ['open', 'read', 'write', 'truncate', 'close', 'list'];
  for (const operation of operations) {
    for (let skip = 0; skip < 24; skip++) {
      const disk = new MemoryDisk();
      const clock = createManualClock();
      const cache = await openOn(disk, { slabs: 8, clock });
      let left = skip;
      disk.failing = (failing) => failing === operation && left-- === 0;
      for (let object = 0; object < 70; object++) {
        insert(cache, object, 0, 4);
        await cache.flush();
        await check(cache, object, 0, 4);
        await check(cache, object - 3, 0, 4);
        clock.advance(RETRY_MS / 4);
      }
      assert.equal(cache.stats().failed, false, `${operation} ${skip}`);
      assert.equal(await check(cache, 69, 0, 4), true);
      await cache.close();
      assert.equal(disk.openFiles, 0, `${operation} ${skip} leaves a file open`);
      assert.ok(disk.peakBytes <= 8 * SLAB_BYTES);
      const again = await openOn(disk.reboot(), { slabs: 8 });
      for (let object = 0; object < 70; object++) await check(again, object, 0, 4);
      assert.equal(again.stats().failed, false);
    }
  }
});

test('files that vanish or are cut off while the cache runs are misses', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk, { slabs: 8 });
  for (let object = 0; object < 10; object++) insert(cache, object, 0, 2);
  await cache.flush();
  disk.files.delete('slab-0000');
  for (let object = 0; object < 10; object++) await check(cache, object, 0, 2);
  assert.ok(cache.stats().damaged > 0);
  for (let object = 100; object < 300; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
    assert.equal(await check(cache, object, 0, 4), true);
  }
  assert.equal(cache.stats().failed, false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, frameBytes, frames, insert, openOn, SLAB_BYTES, saltOf } from './testing.ts';
import { QUEUE_BYTES_MAX } from './insert-queue.ts';
import { MemoryDisk } from './memory-disk.ts';

test('frames that were inserted can be read, alone and together', async () => {
  const cache = await openOn(new MemoryDisk());
  insert(cache, 1, 10, 5);
  assert.equal(await check(cache, 1, 10, 5), false, 'not before they are written');
  await cache.flush();
  assert.equal(await check(cache, 1, 10, 5), true);
  assert.equal(await check(cache, 1, 12, 1), true);
  assert.equal(await check(cache, 1, 14, 2), false);
  assert.equal(await check(cache, 2, 10, 1), false);
  assert.equal(cache.has(saltOf(1), 14), true);
  assert.equal(cache.has(saltOf(1), 15), false);
  const { hits, misses, entries, failed } = cache.stats();
  assert.deepEqual(
    { hits, misses, entries, failed },
    { hits: 6, misses: 9, entries: 5, failed: false },
  );
});

test('the bytes of an insert are copied before it returns', async () => {
  const cache = await openOn(new MemoryDisk());
  const { lengths, bytes } = frames(1, 0, 3);
  const borrowed = Uint8Array.from(bytes);
  cache.insert(saltOf(1), 0, lengths, borrowed);
  borrowed.fill(0);
  await cache.flush();
  assert.equal(await check(cache, 1, 0, 3), true);
});

test('a group is written by one call and read by one call', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  insert(cache, 1, 0, 1);
  await cache.flush();
  const { write, read } = disk.counts;
  insert(cache, 1, 1, 12);
  await cache.flush();
  assert.equal(disk.counts.write, write + 1);
  assert.equal(await check(cache, 1, 1, 12), true);
  assert.equal(disk.counts.read, read + 1);
});

test('neighbours that were written one after another are read together', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  insert(cache, 1, 0, 3);
  await cache.flush();
  insert(cache, 1, 3, 3);
  await cache.flush();
  const { read } = disk.counts;
  assert.equal(await check(cache, 1, 0, 6), true);
  assert.equal(disk.counts.read, read + 2);
});

test('inserts of one turn share a write', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  insert(cache, 1, 0, 1);
  await cache.flush();
  const { write } = disk.counts;
  for (let object = 2; object < 8; object++) insert(cache, object, 0, 1);
  await cache.flush();
  assert.equal(disk.counts.write, write + 1);
});

test('a frame of another length than the one that is wanted is a miss', async () => {
  const cache = await openOn(new MemoryDisk());
  insert(cache, 1, 0, 1);
  await cache.flush();
  const target = new Uint8Array(5000);
  const length = frameBytes(1, 0).length;
  assert.equal(await cache.read(saltOf(1), 0, Uint32Array.of(length - 1), target), false);
  assert.equal(await cache.read(saltOf(1), 0, Uint32Array.of(length), target), true);
});

test('what is there already is not written again', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  insert(cache, 1, 0, 4);
  await cache.flush();
  const { write } = disk.counts;
  insert(cache, 1, 1, 3);
  await cache.flush();
  assert.equal(disk.counts.write, write);
});

test('a forgotten frame is a miss until it is inserted again', async () => {
  const cache = await openOn(new MemoryDisk());
  insert(cache, 1, 0, 4);
  await cache.flush();
  cache.forget(saltOf(1), 1, 2);
  assert.deepEqual(
    [0, 1, 2, 3].map((frame) => cache.has(saltOf(1), frame)),
    [true, false, false, true],
  );
  insert(cache, 1, 1, 1);
  await cache.flush();
  assert.equal(await check(cache, 1, 0, 2), true);
});

test('a full queue drops what comes, and never waits', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  disk.gate = () => gate;
  const length = 15_000;
  const bytes = new Uint8Array(length * 64);
  const lengths = new Uint32Array(64).fill(length);
  const fit = Math.floor(QUEUE_BYTES_MAX / bytes.length);
  for (let object = 0; object < fit + 3; object++) cache.insert(saltOf(object), 0, lengths, bytes);
  assert.equal(cache.stats().queuedBytes, fit * bytes.length);
  assert.equal(cache.stats().dropped, 3 * 64);
  open();
  await cache.flush();
  assert.equal(cache.stats().queuedBytes, 0);
  assert.equal(cache.stats().failed, false);
});

test('what waits keeps its bytes until it is written', async () => {
  const cache = await openOn(new MemoryDisk(), { slabs: 16, slabBytes: 2 ** 20 });
  const lengths = new Uint32Array(3).fill(70_000);
  for (let round = 0; round < 3; round++) {
    for (let object = round * 15; object < round * 15 + 15; object++) {
      const bytes = new Uint8Array(3 * 70_000).fill(object + 1);
      cache.insert(saltOf(object), 0, lengths, bytes);
    }
    await cache.flush();
  }
  const target = new Uint8Array(3 * 70_000);
  for (let object = 0; object < 45; object++) {
    assert.equal(await cache.read(saltOf(object), 0, lengths, target), true);
    assert.equal(
      target.every((byte) => byte === object + 1),
      true,
    );
  }
});

test('a cache in which everything is read again still takes newcomers', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  let writes = 0;
  for (let object = 0; object < 300; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
    for (let reads = 0; reads < 3; reads++) {
      for (let recent = Math.max(0, object - 100); recent <= object; recent++) {
        await check(cache, recent, 0, 4);
      }
    }
    assert.ok(disk.counts.write - writes < 150, 'no insert sets off endless moving');
    writes = disk.counts.write;
    assert.equal(await check(cache, object, 0, 4), true);
  }
  const { moved, inserts, evictions } = cache.stats();
  assert.ok(evictions > 300);
  assert.ok(moved < inserts * 4, `${moved} moved for ${inserts} inserts`);
});

test('many small frames that wait are bounded too', async () => {
  const cache = await openOn(new MemoryDisk());
  for (let object = 0; object < 9000; object++) {
    cache.insert(saltOf(object), 0, Uint32Array.of(1), Uint8Array.of(1));
  }
  assert.ok(cache.stats().dropped > 0);
  await cache.close();
});

test('the files never hold more than the budget', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  for (let object = 0; object < 400; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
    if (object > 5) await check(cache, object - 5, 0, 4);
    assert.ok(disk.bytes <= cache.stats().fileBytes, 'slabs that are free are empty');
  }
  const { evictions, moved, failed, fileBytes } = cache.stats();
  assert.equal(failed, false);
  assert.ok(evictions > 500 && moved > 100, `${evictions} evicted, ${moved} moved`);
  assert.equal(fileBytes <= 16 * SLAB_BYTES, true);
  await cache.close();
  assert.ok(disk.peakBytes <= 16 * SLAB_BYTES, `${disk.peakBytes} bytes`);
  assert.ok(disk.peakBytes > 12 * SLAB_BYTES, 'and the budget is used');
  assert.equal(disk.openFiles, 0);
});

test('frames too large for a slab, and budgets too small for one, cache nothing', async () => {
  const cache = await openOn(new MemoryDisk());
  cache.insert(saltOf(1), 0, Uint32Array.of(SLAB_BYTES), new Uint8Array(SLAB_BYTES));
  await cache.flush();
  assert.equal(cache.stats().dropped, 1);
  assert.equal(cache.has(saltOf(1), 0), false);
  const disk = new MemoryDisk();
  const none = await openOn(disk, { slabs: 3 });
  insert(none, 1, 0, 1);
  await none.flush();
  assert.equal(await check(none, 1, 0, 1), false);
  assert.equal(none.stats().failed, false);
  assert.equal(disk.files.size, 0);
});

test('the largest frame that fits a slab is held', async () => {
  const cache = await openOn(new MemoryDisk());
  const largest = SLAB_BYTES - 5 * 24;
  const target = new Uint8Array(largest);
  for (let object = 0; object < 20; object++) {
    cache.insert(saltOf(object), 0, Uint32Array.of(largest), new Uint8Array(largest).fill(object));
    await cache.flush();
    assert.equal(await cache.read(saltOf(object), 0, Uint32Array.of(largest), target), true);
  }
  assert.equal(cache.stats().failed, false);
});

test('a closed cache misses and drops', async () => {
  const cache = await openOn(new MemoryDisk());
  insert(cache, 1, 0, 1);
  await cache.close();
  assert.equal(await check(cache, 1, 0, 1), false);
  assert.equal(cache.has(saltOf(1), 0), false);
  insert(cache, 1, 0, 1);
  await cache.flush();
  assert.equal(cache.stats().dropped, 1);
  await cache.close();
});

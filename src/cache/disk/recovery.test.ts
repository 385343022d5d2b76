import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { MemoryDisk } from './memory-disk.ts';
import { CELL_BYTES } from './slab-format.ts';
import { check, insert, openOn, SLAB_BYTES, saltOf } from './testing.ts';

const OBJECTS = 20;

/** Some sealed slabs and an open one. */
async function filled(first = 0): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  for (let object = first; object < first + OBJECTS; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
  }
  assert.equal(cache.stats().evictions, 0);
  return disk;
}

async function readable(disk: MemoryDisk): Promise<number> {
  const cache = await openOn(disk);
  let count = 0;
  for (let object = 0; object < OBJECTS; object++) {
    for (let frame = 0; frame < 4; frame++) {
      if (await check(cache, object, frame, 1)) count += 1;
    }
  }
  assert.equal(cache.stats().failed, false);
  await cache.close();
  return count;
}

test('after a kill everything that was written is there', async () => {
  assert.equal(await readable((await filled()).reboot()), OBJECTS * 4);
});

test('after a close everything is there, and each slab is loaded by two reads', async () => {
  const killed = (await filled()).reboot();
  const cache = await openOn(killed);
  await cache.close();
  const disk = killed.reboot();
  const again = await openOn(disk);
  assert.equal(again.stats().entries, OBJECTS * 4);
  assert.equal(disk.counts.read, disk.files.size * 2, 'the header and the directory');
  await again.close();
  assert.equal(await readable(disk.reboot()), OBJECTS * 4);
});

test('a restart goes on with the slab that was being filled', async () => {
  let disk = new MemoryDisk();
  for (let object = 0; object < 40; object++) {
    const cache = await openOn(disk);
    insert(cache, object, 0, 1);
    if (object % 2 === 0) await cache.close();
    else await cache.flush();
    disk = disk.reboot();
  }
  assert.ok(disk.files.size <= 4, `${disk.files.size} slabs for what fits two or three`);
  const cache = await openOn(disk);
  assert.equal(cache.stats().entries, 40);
});

test('each byte that is damaged costs no more than its slab, and no crash', async () => {
  const original = await filled();
  const name = 'slab-0000';
  const { length } = original.files.get(name)!;
  const inSlab = Math.ceil(SLAB_BYTES / 100);
  // All of the header, the first record and the trailer; a sample of the rest.
  for (let at = 0; at < length; at += at < 400 || at > length - 200 ? 1 : 97) {
    const disk = original.reboot();
    disk.files.get(name)![at]! ^= 0x40;
    const left = await readable(disk);
    assert.ok(left >= OBJECTS * 4 - inSlab, `${left} left after damage at ${at}`);
    if (at < CELL_BYTES) assert.ok(left < OBJECTS * 4, `damage at ${at} of the header is found`);
  }
});

test('a damaged directory is made good from the records', async () => {
  const disk = (await filled()).reboot();
  const bytes = disk.files.get('slab-0000')!;
  bytes[bytes.length - CELL_BYTES - 2]! ^= 1;
  assert.equal(await readable(disk), OBJECTS * 4);
});

test('a slab that was cut off anywhere keeps what is in front of the cut', async () => {
  const original = await filled();
  const name = 'slab-0001';
  const bytes = original.files.get(name)!;
  let least = OBJECTS * 4;
  for (let end = bytes.length - 1; end > 0; end -= 131) {
    const disk = original.reboot();
    disk.files.set(name, bytes.slice(0, end));
    const left = await readable(disk);
    assert.ok(left <= least, 'a shorter slab holds no more');
    const again = await openOn(disk.reboot());
    assert.equal(again.stats().entries, left, 'and promises no more than it holds');
    least = left;
  }
  assert.ok(least < OBJECTS * 4 && least > OBJECTS * 2);
});

test('records of an earlier filling of a slab are not taken for new ones', async () => {
  const stale = (await filled()).files.get('slab-0000')!;
  const disk = new MemoryDisk();
  const cache = await openOn(disk);
  insert(cache, 0, 0, 4);
  await cache.flush();
  // The slab is as it was when it had its first record; what the disk held before shows behind it.
  const fresh = disk.files.get('slab-0000')!;
  assert.ok(stale.length > fresh.length * 3);
  assert.notDeepEqual(fresh.subarray(8, 16), stale.subarray(8, 16), 'generations');
  const after = disk.reboot();
  after.files.set('slab-0000', Buffer.concat([fresh, stale.subarray(fresh.length)]));
  const again = await openOn(after);
  assert.equal(again.stats().entries, 4);
  assert.equal(await check(again, 0, 0, 4), true);
  assert.equal(await check(again, 1, 0, 4), false);
  await again.close();
  const last = after.reboot();
  assert.equal((await openOn(last)).stats().entries, 4);
  assert.equal(last.counts.read, 2, 'what was torn is gone, so the directory ends the file');
});

test('files of another version, of other slabs and of nobody are no entries', async () => {
  const disk = (await filled()).reboot();
  const slab = disk.files.get('slab-0000')!;
  const newer = Buffer.from(slab);
  newer[4] = 2;
  newer.writeUInt32LE(crc32(newer.subarray(0, CELL_BYTES - 4)), CELL_BYTES - 4);
  disk.files.set('slab-0000', newer);
  disk.files.set('slab-0015', Buffer.concat([slab, new Uint8Array(SLAB_BYTES)]));
  disk.files.set('slab-0099', slab);
  disk.files.set('slab-0007', new TextEncoder().encode('not a slab'));
  disk.files.set('notes.txt', new Uint8Array(3));
  const cache = await openOn(disk);
  assert.ok(cache.stats().entries < OBJECTS * 4);
  const names = [...disk.files.keys()];
  assert.equal(names.includes('notes.txt'), true, 'what is not ours stays');
  for (const gone of ['slab-0000', 'slab-0015', 'slab-0099', 'slab-0007']) {
    assert.equal(names.includes(gone), false, gone);
  }
});

test('a smaller budget keeps what fits it', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk, { slabs: 32 });
  for (let object = 0; object < 120; object++) insert(cache, object, 0, 4);
  await cache.close();
  const before = disk.files.size;
  assert.ok(before > 10);
  const smaller = await openOn(disk, { slabs: 10 });
  await smaller.flush();
  assert.ok(disk.bytes <= 10 * SLAB_BYTES);
  assert.ok(smaller.stats().entries > 0);
  insert(smaller, 900, 0, 1);
  await smaller.close();
  assert.ok(disk.bytes <= 10 * SLAB_BYTES);
});

test('a slab that is recycled under a read gives a miss', async () => {
  const disk = new MemoryDisk();
  const cache = await openOn(disk, { slabs: 8 });
  insert(cache, 1, 0, 4);
  await cache.flush();
  let proceed = (): void => {};
  const gate = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  disk.gate = () => gate;
  const read = check(cache, 1, 0, 4);
  disk.gate = () => Promise.resolve();
  for (let object = 100; object < 200; object++) {
    insert(cache, object, 0, 4);
    await cache.flush();
  }
  assert.equal(cache.has(saltOf(1), 0), false);
  const { entries } = cache.stats();
  proceed();
  assert.equal(await read, false);
  assert.equal(cache.stats().entries, entries, 'and takes nothing of the new filling away');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../base/rng.ts';
import { createTestBed, noise } from './testing.ts';

const INODE = 20;

test('what was written is read back, before and after a barrier, and after a reopen', async () => {
  const bed = await createTestBed();
  const first = await bed.open();
  const data = noise(7, 300_000);
  await first.write(INODE, 12_345, data);
  const target = new Uint8Array(data.length);
  await first.read(INODE, 12_345, target);
  assert.deepEqual(target, data);
  await first.barrier();
  // No close: the second open recovers from the log, as after a crash.
  const second = await bed.open();
  target.fill(0);
  await second.read(INODE, 12_345, target);
  assert.deepEqual(target, data);
  const before = new Uint8Array(100).fill(1);
  await second.read(INODE, 0, before);
  assert.deepEqual(before, new Uint8Array(100));
  await second.close();
});

test('random writes, trims and reopens agree with a byte array', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const bed = await createTestBed(seed);
    const rng = createSeededRng(seed);
    const size = 3 * 1024 * 1024;
    const model = new Uint8Array(size);
    let db = await bed.open();
    for (let step = 0; step < 300; step++) {
      const pick = rng.float();
      const aligned = rng.float() < 0.6;
      let offset = Math.floor(rng.float() * size);
      let length = Math.min(size - offset, 1 + Math.floor(rng.float() ** 3 * 200_000));
      if (aligned) {
        offset -= offset % 4096;
        length = Math.min(size - offset, Math.ceil(length / 4096) * 4096);
      }
      if (pick < 0.5) {
        const data = rng.float() < 0.2 ? new Uint8Array(length) : noise(seed * 1000 + step, length);
        await db.write(INODE, offset, data);
        model.set(data, offset);
      } else if (pick < 0.6) {
        await db.zero(INODE, offset, length, rng.float() < 0.5);
        model.fill(0, offset, offset + length);
      } else if (pick < 0.9) {
        const target = new Uint8Array(length);
        await db.read(INODE, offset, target);
        assert.ok(
          Buffer.compare(target, model.subarray(offset, offset + length)) === 0,
          `${seed} ${step}`,
        );
      } else if (pick < 0.97) {
        await db.barrier();
      } else if (pick < 0.985) {
        await db.barrier();
        db = await bed.open();
      } else {
        await db.close();
        db = await bed.open();
      }
    }
    const target = new Uint8Array(size);
    await db.read(INODE, 0, target);
    assert.ok(Buffer.compare(target, model) === 0, `seed ${seed}: final state`);
    const extents = await db.extents(INODE, 0, size, 100_000);
    let at = 0;
    for (const extent of extents) {
      if (extent.zero) {
        const zeroes = model.subarray(at, at + extent.lengthBytes).every((byte) => byte === 0);
        assert.ok(zeroes, `seed ${seed}: extent at ${at} is said to be zero`);
      }
      at += extent.lengthBytes;
    }
    assert.equal(at, size);
    await db.close();
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng, type Rng } from '../../base/rng.ts';
import type { Database } from '../db.ts';
import { noise } from '../testing.ts';
import {
  assertBytes,
  createFollowBed,
  FOLLOW_MS,
  INODE,
  readAll,
  settle,
  withHook,
} from './testing.ts';

const SIZE = 768 * 1024;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** One random change, to the database and to the model. */
async function change(db: Database, model: Uint8Array, rng: Rng): Promise<void> {
  let offset = Math.floor(rng.float() * SIZE);
  if (rng.float() < 0.7) offset -= offset % 4096;
  const length = Math.min(SIZE - offset, 1 + Math.floor(rng.float() ** 2 * 60_000));
  if (rng.float() < 0.8) {
    const data = noise(Math.floor(rng.float() * 2 ** 31), length);
    await db.write(INODE, offset, data);
    model.set(data, offset);
  } else {
    await db.zero(INODE, offset, length, rng.float() < 0.5);
    model.fill(0, offset, offset + length);
  }
}

async function assertReads(db: Database, model: Uint8Array, rng: Rng, what: string): Promise<void> {
  const offset = Math.floor(rng.float() * SIZE);
  const target = new Uint8Array(Math.min(SIZE - offset, 1 + Math.floor(rng.float() * 50_000)));
  await db.read(INODE, offset, target);
  assert.ok(sameBytes(target, model.subarray(offset, offset + target.length)), what);
}

test('followers hold what they read beside a writer at work', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const rng = createSeededRng(seed);
    const bed = await createFollowBed(seed);
    let { db } = await bed.writer();
    const model = new Uint8Array(SIZE);
    const eager = await bed.follower();
    const lazy = await bed.follower();
    let lazyModel = model.slice();
    const saved = new Map<string, Uint8Array>();
    for (let step = 1; step <= 400; step++) {
      const what = `seed ${seed}, step ${step}`;
      await change(db, model, rng);
      if (step % 37 === 0) await db.collect(() => {});
      if (step % 50 === 0) {
        await db.roots.createSnapshot(`s${step}`);
        saved.set(`s${step}`, model.slice());
      }
      if (step % 110 === 0) {
        const [name, bytes] = [...saved][Math.floor(rng.float() * saved.size)]!;
        await db.roots.restore(name);
        model.set(bytes);
      }
      if (step % 95 === 0) {
        // Taken over: the deposed writer just goes away, as if it had been killed.
        await db.barrier();
        ({ db } = await bed.writer());
      }
      if (step % 5 === 0) {
        await db.barrier();
        await eager.db.refresh();
        await assertReads(eager.db, model, rng, `${what}: the eager follower`);
      }
      if (step % 60 === 0) {
        await db.barrier();
        await lazy.db.refresh();
        lazyModel = model.slice();
      }
      await assertReads(lazy.db, lazyModel, rng, `${what}: the lazy follower`);
      assert.ok(bed.leases().length <= 4, `${what}: ${bed.leases().length} leases`);
    }
    assert.ok(sameBytes(await readAll(lazy.db, SIZE), lazyModel), `seed ${seed}: lazy`);
    await db.barrier();
    await eager.db.refresh();
    assert.ok(sameBytes(await readAll(eager.db, SIZE), model), `seed ${seed}: eager`);
    await eager.db.close();
    await lazy.db.close();
    assert.deepEqual(bed.leases(), []);
    await db.close();
  }
});

test('a quiet branch costs one listing per interval and few of manifests', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  await db.write(INODE, 0, noise(1, 100_000));
  await db.barrier();
  const store = withHook(bed.memory, () => {});
  const follower = await bed.follower(store);
  await follower.db.refresh();
  const before = store.meter.snapshot().total;
  for (let i = 0; i < 10; i++) {
    follower.clock.advance(FOLLOW_MS);
    await settle();
  }
  const after = store.meter.snapshot().total;
  assert.equal(after.list.requests - before.list.requests, 11);
  for (const kind of ['get', 'put', 'delete', 'head'] as const) {
    assert.equal(after[kind].requests, before[kind].requests, kind);
  }
  const { following } = follower.db.status();
  assert.equal(following?.refreshedAgoMs, 0);
  await follower.db.close();
});

test('what was written is there after an interval', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  const follower = await bed.follower();
  const data = noise(1, 50_000);
  await db.write(INODE, 4096, data);
  await db.barrier();
  assertBytes(await readAll(follower.db, 60_000), new Uint8Array(60_000));
  follower.clock.advance(FOLLOW_MS);
  await settle();
  const target = await readAll(follower.db, 60_000);
  assertBytes(target.subarray(4096, 54_096), data);
  assert.equal(follower.db.status().acknowledged, db.status().acknowledged);
  await follower.db.close();
});

test('a manifest that only a restore made is found on a quiet branch', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  const before = noise(1, 50_000);
  await db.write(INODE, 0, before);
  await db.roots.createSnapshot('before');
  await db.write(INODE, 0, noise(2, 50_000));
  await db.roots.createSnapshot('after');
  const follower = await bed.follower();
  assertBytes(await readAll(follower.db, 50_000), noise(2, 50_000));
  await db.roots.restore('before');
  for (let i = 0; i < 10; i++) {
    follower.clock.advance(FOLLOW_MS);
    await settle();
  }
  assertBytes(await readAll(follower.db, 50_000), before);
  await follower.db.close();
});

test('a memtable that is full waits for the writer to flush', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer({ memtableBytes: 2 ** 30, logObjectsMax: 1e6 });
  const follower = await bed.follower(bed.memory, { memtableBytes: 64 * 1024 });
  let written = 0;
  for (let i = 0; i < 3000; i++) {
    await db.write(INODE, i * 128 * 1024, noise(i, 100));
    if (i % 100 === 99) await db.barrier();
    written = i;
  }
  await assert.rejects(follower.db.refresh(), { kind: 'noSpace' });
  const behind = follower.db.status();
  assert.ok(behind.acknowledged < db.status().acknowledged);
  const first = new Uint8Array(100);
  await follower.db.read(INODE, 0, first);
  assert.deepEqual(first, noise(0, 100));
  await db.collect(() => {});
  await follower.db.refresh();
  await follower.db.read(INODE, written * 128 * 1024, first);
  assert.deepEqual(first, noise(written, 100));
  await follower.db.close();
});

test('a memtable that is full behind a restore is told as well', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer({ memtableBytes: 2 ** 30, logObjectsMax: 1e6 });
  await db.write(INODE, 0, noise(9, 100));
  await db.roots.createSnapshot('before');
  const follower = await bed.follower(bed.memory, { memtableBytes: 64 * 1024 });
  await db.roots.restore('before');
  const { manifest } = follower.db.status().following!;
  for (let i = 1; i < 3000; i++) {
    await db.write(INODE, i * 128 * 1024, noise(i, 100));
    if (i % 100 === 99) await db.barrier();
  }
  await db.barrier();
  await assert.rejects(follower.db.refresh(), { kind: 'noSpace' });
  assert.ok(follower.db.status().following!.manifest > manifest, 'it has moved');
  assert.ok(follower.db.status().acknowledged < db.status().acknowledged);
  // With nothing more in the log it still is behind.
  await assert.rejects(follower.db.refresh(), { kind: 'noSpace' });
  await db.collect(() => {});
  await follower.db.refresh();
  assert.equal(follower.db.status().acknowledged, db.status().acknowledged);
  await follower.db.close();
});

test('a branch that was deleted ends the follower, loudly', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  await db.write(INODE, 0, noise(1, 5000));
  await db.roots.createBranch('child');
  const follower = await bed.follower(bed.memory, { branch: 'child' });
  await db.roots.deleteBranch('child');
  await assert.rejects(follower.db.refresh(), { kind: 'notFound', message: /was deleted/ });
  follower.clock.advance(FOLLOW_MS);
  assert.equal((await follower.db.failed).kind, 'notFound');
  await follower.db.close();
});

test('what reads miss when following has ended is told to be its end, not damage', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  await db.roots.createBranch('child');
  const child = await bed.writer({ branch: 'child' });
  await child.db.write(INODE, 0, noise(1, 50_000));
  await child.db.barrier();
  const store = withHook(bed.memory, () => {});
  const follower = await bed.follower(store, { branch: 'child' });
  await db.roots.deleteBranch('child');
  follower.clock.advance(FOLLOW_MS);
  const failure = await follower.db.failed;
  assert.equal(failure.kind, 'notFound');
  const before = store.meter.snapshot().total;
  const read = await readAll(follower.db, 50_000).catch((error: unknown) => error);
  assert.equal(read, failure);
  const after = store.meter.snapshot().total;
  assert.equal(after.list.requests, before.list.requests, 'the branch is not looked for again');
  await follower.db.close();
});

test('what a read misses while the follower is closed is no damage', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  await db.write(INODE, 0, noise(1, 50_000));
  await db.barrier();
  let closing: Promise<void> | undefined;
  const store = withHook(bed.memory, (request, key) => {
    if (request !== 'get' || !key.includes('/log/') || !isOpen) return;
    closing ??= follower.db.close();
    bed.memory.objects.delete(key);
  });
  let isOpen = false;
  const follower = await bed.follower(store);
  isOpen = true;
  await assert.rejects(readAll(follower.db, 50_000), { kind: 'aborted' });
  assert.ok(closing !== undefined);
  await closing;
});

test('damage to the log ends the follower, loudly', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  const follower = await bed.follower();
  await db.write(INODE, 0, noise(2, 100));
  await db.barrier();
  const logs = [...bed.memory.objects.keys()].filter((key) => key.includes('/log/'));
  bed.memory.objects.get(logs.toSorted().at(-1)!)!.fill(7, -20);
  follower.clock.advance(FOLLOW_MS);
  assert.equal((await follower.db.failed).kind, 'corrupt');
  await follower.db.close();
});

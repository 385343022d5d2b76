import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import type { Database } from '../db.ts';
import { createTestBed, noise, type TestBed } from '../testing.ts';
import { salvage, type SalvageReport } from './salvage.ts';
import {
  BUSY,
  check,
  componentsOf,
  flip,
  INODE,
  namesWith,
  randomChange,
  SIZE,
  smallCommits,
} from './testing.ts';

interface History {
  readonly bed: TestBed;
  /** What is durable. */
  readonly model: Uint8Array;
  readonly db: Database;
}

/** Flushes, merges, collection, crashes; ends in a barrier, with a log to replay or without. */
async function history(seed: number, steps = 120, roots = false): Promise<History> {
  const bed = await createTestBed(seed);
  const rng = createSeededRng(seed);
  const model = new Uint8Array(SIZE);
  let db = await bed.open(BUSY);
  for (let step = 0; step < steps; step++) {
    const pick = rng.float();
    if (pick < 0.75) await randomChange(db, model, rng, seed * 1000 + step);
    else if (pick < 0.92) await db.barrier();
    else if (pick < 0.94) await db.putMeta(`name${step % 3}`, Buffer.from(`value ${step}`));
    else if (pick < 0.95) await db.collect(() => {});
    else if (pick < 0.97) {
      await db.barrier();
      await db.settled();
      db = await bed.open(BUSY);
    } else if (pick < 0.98) await smallCommits(db, model);
    else if (roots && pick < 0.99) await db.roots.createSnapshot(`s${step}`);
    else if (roots) await db.roots.createBranch(`b${step}`);
  }
  await db.putMeta('last', Buffer.from('value'));
  await db.barrier();
  await db.settled();
  return { bed, model, db };
}

function drop(bed: TestBed, part: string): void {
  for (const name of namesWith(bed, part)) bed.memory.objects.delete(name);
}

async function save(bed: TestBed, branch = 'saved', from?: string): Promise<SalvageReport> {
  return salvage(await componentsOf(bed), { branch, from, onProgress: () => {} });
}

async function content(bed: TestBed, branch: string): Promise<Uint8Array> {
  const db = await bed.open({ branch });
  const target = new Uint8Array(SIZE);
  await db.read(INODE, 0, target);
  await db.close();
  return target;
}

function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  for (let at = 0; at < expected.length; at += 4096) {
    const same = Buffer.compare(actual.subarray(at, at + 4096), expected.subarray(at, at + 4096));
    assert.equal(same, 0, `${what}: block ${at / 4096}`);
  }
}

async function assertClean(bed: TestBed, what: string): Promise<void> {
  const { report } = await check(bed, true);
  assert.deepEqual(report.errors.slice(0, 3), [], what);
}

test('without any manifest the last durable state comes back', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const { bed, model } = await history(seed);
    drop(bed, '/manifest/');
    if (seed % 3 === 0) drop(bed, 'branches/index/');
    const report = await save(bed);
    assert.equal(report.lostBytes, 0, `seed ${seed}`);
    assert.deepEqual(report.damaged, []);
    assertSame(await content(bed, 'saved'), model, `seed ${seed}`);
    const db = await bed.open({ branch: 'saved' });
    assert.equal(Buffer.from((await db.meta('last'))!).toString(), 'value');
    await db.close();
    await assertClean(bed, `seed ${seed}`);
  }
});

test('with the newest manifest lost or damaged it is the last durable state', async () => {
  for (let seed = 21; seed <= 32; seed++) {
    const { bed, model } = await history(seed, 120, seed % 2 === 0);
    const { branches } = await check(bed);
    const { id } = branches.find((one) => one.name === 'main')!;
    const newest = namesWith(bed, `${id}/manifest/`).at(-1)!;
    if (seed % 3 === 0) flip(bed, newest);
    else if (seed % 3 === 1) bed.memory.objects.delete(newest);
    const report = await save(bed, 'saved', 'main');
    assert.equal(report.lostBytes, 0, `seed ${seed}`);
    assertSame(await content(bed, 'saved'), model, `seed ${seed}`);
    await assertClean(bed, `seed ${seed}`);
  }
});

test('the branches that share objects all live on, whoever collects', async () => {
  for (let seed = 41; seed <= 44; seed++) {
    const { bed, model, db } = await history(seed, 60);
    await db.roots.createBranch('child');
    const childModel = model.slice();
    const rng = createSeededRng(seed);
    for (let step = 0; step < 40; step++) await randomChange(db, model, rng, step);
    await db.barrier();
    await db.settled();
    const { branches } = await check(bed);
    const { id } = branches.find((one) => one.name === 'main')!;
    drop(bed, `${id}/manifest/`);
    await save(bed, 'saved', 'main');
    const models = { main: model, saved: model.slice(), child: childModel };
    for (const branch of ['main', 'saved', 'child', 'main'] as const) {
      assertSame(await content(bed, branch), models[branch], `seed ${seed} ${branch}`);
      const again = await bed.open({ ...BUSY, branch });
      for (let step = 0; step < 60; step++) {
        await randomChange(again, models[branch], rng, 100 + step);
      }
      await again.barrier();
      await again.collect(() => {});
      await again.close();
    }
    for (const [branch, mine] of Object.entries(models)) {
      assertSame(await content(bed, branch), mine, `seed ${seed} ${branch} at the end`);
    }
    await assertClean(bed, `seed ${seed}`);
  }
});

test('the old branch keeps what the new one shares with it', async () => {
  const { bed, model } = await history(46, 60);
  drop(bed, '/manifest/');
  await save(bed);
  const old = await bed.open(BUSY);
  await old.zero(INODE, 0, SIZE, false);
  await old.collect(() => {});
  await old.close();
  assertSame(await content(bed, 'saved'), model, 'saved');
  await assertClean(bed, 'both');
});

test('what was trimmed behind the newest manifest that opens stays trimmed', async () => {
  const bed = await createTestBed();
  const model = noise(1, SIZE);
  const db = await bed.open();
  await db.write(INODE, 0, model);
  await db.barrier();
  await db.settled();
  const { manifest } = await db.roots.createSnapshot('early');
  await db.zero(INODE, 40_960, 409_600, false);
  model.fill(0, 40_960, 450_560);
  await db.collect(() => {});
  for (const name of namesWith(bed, '/manifest/')) {
    if (Number(name.slice(-12)) !== manifest) bed.memory.objects.delete(name);
  }
  const report = await save(bed);
  assert.equal(report.source.manifest, manifest);
  assertSame(await content(bed, 'saved'), model, 'saved');
  await assertClean(bed, 'both');
});

test('data that is gone is reported to the byte, fails reads, and the rest is right', async () => {
  for (let seed = 51; seed <= 56; seed++) {
    const { bed, model, db } = await history(seed);
    await db.close();
    const rng = createSeededRng(seed);
    const objects = [...namesWith(bed, '/log/'), ...namesWith(bed, '/data/')];
    const gone = new Set(objects.filter(() => rng.float() < 0.2));
    for (const name of gone) bed.memory.objects.delete(name);
    drop(bed, '/manifest/');
    const report = await save(bed);
    const lost = new Uint8Array(SIZE / 4096);
    for (const { inode, from, to } of report.lost) {
      assert.equal(inode, INODE);
      lost.fill(1, from / 4096, to / 4096);
    }
    assert.equal(report.lostBytes, lost.filter((one) => one === 1).length * 4096);
    assert.ok(report.lostBytes > 0, `seed ${seed} lost something`);
    for (const { object } of report.lostSegments) assert.ok(gone.has(object!));
    const saved = await bed.open({ branch: 'saved' });
    const block = new Uint8Array(4096);
    for (let at = 0; at < SIZE; at += 4096) {
      const reading = async (): Promise<void> => {
        await saved.read(INODE, at, block);
      };
      if (lost[at / 4096] === 1) {
        await assert.rejects(reading(), (error) => isStorageError(error, 'corrupt'));
        continue;
      }
      await reading();
      assert.equal(Buffer.compare(block, model.subarray(at, at + 4096)), 0, `block ${at / 4096}`);
    }
    await saved.close();
  }
});

test('a log with a hole in it ends there, and the report says where', async () => {
  const bed = await createTestBed();
  const db = await bed.open({ logObjectsMax: 1000, idleFlushMs: 1e9 });
  for (let i = 0; i < 10; i++) {
    await db.write(INODE, i * 4096, noise(i, 4096));
    await db.barrier();
  }
  const logs = namesWith(bed, '/log/');
  // The fence and ten commits; the seventh commit is lost.
  assert.equal(logs.length, 11);
  bed.memory.objects.delete(logs[7]!);
  drop(bed, '/manifest/');
  const report = await save(bed);
  assert.deepEqual(report.log, { first: 1, last: 6, missingFrom: 0, missingTo: 0, beyond: 3 });
  const saved = await content(bed, 'saved');
  for (let i = 0; i < 10; i++) {
    const expected = i < 6 ? noise(i, 4096) : new Uint8Array(4096);
    assert.equal(Buffer.compare(saved.subarray(i * 4096, i * 4096 + 4096), expected), 0);
  }
});

test('a damaged table is filled up from the log, and reported', async () => {
  const bed = await createTestBed();
  const model = new Uint8Array(SIZE);
  const db = await bed.open();
  for (let i = 0; i < 40; i++) {
    const data = noise(i, 8192);
    await db.write(INODE, i * 8192, data);
    model.set(data, i * 8192);
    await db.barrier();
  }
  await db.settled();
  const [table] = namesWith(bed, '/tables/');
  flip(bed, table!, 100);
  const report = await save(bed);
  assert.deepEqual(
    report.damaged.map((one) => one.object),
    [table],
  );
  assertSame(await content(bed, 'saved'), model, 'filled up');
});

test('a name that is taken, or a branch that is not there, changes nothing', async () => {
  const { bed } = await history(61, 20);
  const before = [...bed.memory.objects.keys()];
  await assert.rejects(save(bed, 'main'), (error) => isStorageError(error, 'exists'));
  await assert.rejects(save(bed, 'b', 'none'), (error) => isStorageError(error, 'notFound'));
  assert.deepEqual([...bed.memory.objects.keys()], before);
});

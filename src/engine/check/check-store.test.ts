import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createTestBed, noise, type TestBed } from '../testing.ts';
import type { CheckReport } from './report.ts';
import {
  BUSY,
  check,
  flip,
  INODE,
  namesWith,
  randomChange,
  SIZE,
  smallCommits,
} from './testing.ts';

/** A store with runs, a snapshot, a branch, a log to replay and a data object or two. */
async function plantedBed(): Promise<TestBed> {
  const bed = await createTestBed(5);
  const rng = createSeededRng(5);
  const model = new Uint8Array(SIZE);
  // Next to which a commit of a block or two is small.
  const segmentBytes = 256 * 1024;
  let db = await bed.open({ ...BUSY, segmentBytes });
  for (let step = 0; step < 60; step++) {
    await randomChange(db, model, rng, step);
    await db.barrier();
    if (step === 20) await db.roots.createSnapshot('early');
    if (step === 40) await db.roots.createBranch('child');
  }
  await smallCommits(db, model);
  await db.collect(() => {});
  await db.settled();
  await db.close();
  db = await bed.open({ ...BUSY, logObjectsMax: 1000 });
  for (let step = 60; step < 65; step++) {
    await randomChange(db, model, rng, step);
    await db.barrier();
  }
  await db.settled();
  return bed;
}

function kinds(report: CheckReport): string[] {
  return [...new Set(report.errors.map((error) => error.kind))];
}

function text(report: CheckReport): string {
  return JSON.stringify(report.errors.slice(0, 5));
}

test('stores after random histories are clean, also deep, and nothing is left', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const bed = await createTestBed(seed);
    const rng = createSeededRng(seed);
    const model = new Uint8Array(SIZE);
    let db = await bed.open(BUSY);
    const snapshots: string[] = [];
    for (let step = 0; step < 150; step++) {
      const pick = rng.float();
      if (pick < 0.7) await randomChange(db, model, rng, seed * 1000 + step);
      else if (pick < 0.85) await db.barrier();
      else if (pick < 0.88) {
        snapshots.push(`s${step}`);
        await db.roots.createSnapshot(`s${step}`);
      } else if (pick < 0.9) {
        await db.roots.createBranch(`b${step}`, snapshots.at(-1));
      } else if (pick < 0.92 && snapshots.length > 0) {
        await db.roots.restore(snapshots[Math.floor(rng.float() * snapshots.length)]!);
      } else if (pick < 0.94) {
        await db.collect(() => {});
      } else if (pick < 0.97) {
        await db.barrier();
        db = await bed.open(BUSY);
      }
      if (step % 50 === 49) {
        await db.settled();
        const { report } = await check(bed, step > 100);
        assert.equal(report.errorCount, 0, `seed ${seed} step ${step}: ${text(report)}`);
        assert.ok(report.checked.roots >= 1 && report.checked.entries > 0);
        assert.deepEqual(namesWith(bed, '/readers/'), [], 'no lease is left behind');
      }
    }
    await db.close();
  }
});

test('a flipped byte in any object that a root reaches is found by a deep check', async () => {
  const bed = await plantedBed();
  const clean = await check(bed, true);
  assert.equal(clean.report.errorCount, 0, text(clean.report));
  assert.ok(namesWith(bed, '/data/').length > 0, 'the collector made data objects');
  const pristine = new Map(bed.memory.objects);
  const missed = new Set<string>();
  for (const name of pristine.keys()) {
    if (!name.startsWith('branches/')) continue;
    flip(bed, name);
    if ((await check(bed, true)).report.errorCount === 0) missed.add(name);
    bed.memory.objects.set(name, pristine.get(name)!);
  }
  // An older index, or the manifest before a claim, is what nothing reads any more.
  const isRead = (name: string): boolean => !/index\/|\/manifest\//.test(name);
  const { garbage } = clean.report;
  const unread = [...missed].filter(isRead);
  assert.ok(unread.length <= garbage.objects, `missed: ${unread.join(' ')}`);
});

test('a missing or truncated object is found without reading it', async () => {
  const bed = await plantedBed();
  const pristine = new Map(bed.memory.objects);
  for (const folder of ['/tables/', '/data/', '/log/', '/manifest/', 'branches/index/']) {
    const name = namesWith(bed, folder).at(-1)!;
    bed.memory.objects.delete(name);
    const isLastOfChain = folder === '/manifest/' || folder === '/log/' || folder.includes('index');
    const { report } = await check(bed);
    // The last of a chain leaves a shorter chain; something misses it in all other cases.
    if (!isLastOfChain) {
      assert.deepEqual(kinds(report), ['missing'], `${name}: ${text(report)}`);
      assert.equal(report.errors[0]!.object, name);
    }
    bed.memory.objects.set(name, pristine.get(name)!);
    if (folder !== '/tables/' && folder !== '/data/') continue;
    bed.memory.objects.set(name, pristine.get(name)!.slice(0, 100));
    const cut = await check(bed);
    assert.deepEqual(kinds(cut.report), ['size'], text(cut.report));
    bed.memory.objects.set(name, pristine.get(name)!);
  }
});

test('a missing log object that a later one proves durable is damage of the log', async () => {
  const bed = await plantedBed();
  const names = namesWith(bed, '/log/');
  bed.memory.objects.delete(names.at(-3)!);
  const { report } = await check(bed);
  assert.deepEqual(kinds(report), ['log'], text(report));
  assert.equal(report.errors[0]!.object, names.at(-3)!);
});

test('a missing or damaged manifest of a snapshot is found', async () => {
  const bed = await plantedBed();
  const { branches } = await check(bed);
  const main = branches.find((one) => one.name === 'main')!;
  const number = main.head!.snapshots[0]!.manifest;
  const name = namesWith(bed, `${main.id}/manifest/`).find(
    (one) => Number(one.split('/')[3]) === number,
  )!;
  const bytes = bed.memory.objects.get(name)!;
  flip(bed, name);
  assert.deepEqual(kinds((await check(bed)).report), ['damaged']);
  bed.memory.objects.delete(name);
  const { report } = await check(bed);
  assert.deepEqual([report.errors[0]!.kind, report.errors[0]!.object], ['missing', name]);
  assert.equal(report.errors[0]!.root, 'snapshot early');
  bed.memory.objects.set(name, bytes);
});

test('damage of format, index and head manifest is found or thrown', async () => {
  const bed = await plantedBed();
  flip(bed, 'format.json', 40);
  await assert.rejects(check(bed), (error) => (error as StorageError).kind === 'corrupt');
  flip(bed, 'format.json', 40);
  const index = namesWith(bed, 'branches/index/').at(-1)!;
  flip(bed, index);
  const lost = (await check(bed)).report;
  assert.deepEqual(kinds(lost), ['damaged']);
  assert.equal(lost.branches.length, 2, 'branches are checked under their ids');
  flip(bed, index);
  const head = namesWith(bed, '/manifest/').at(-1)!;
  flip(bed, head);
  assert.deepEqual(
    (await check(bed)).report.errors.map((one) => one.object),
    [head],
  );
});

test('what no root reaches is garbage and no error', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  await db.write(INODE, 0, noise(1, 500_000));
  await db.collect(() => {});
  const before = (await check(bed)).report;
  assert.equal(before.garbage.objects, 0, 'the collector leaves none');
  const [table] = namesWith(bed, '/tables/');
  const other = `${table!.slice(0, -4)}9999`;
  bed.memory.objects.set(other, new Uint8Array(1234));
  bed.memory.objects.set('stray', new Uint8Array(1));
  const { report } = await check(bed);
  assert.equal(report.errorCount, 0);
  assert.equal(report.garbage.objects, before.garbage.objects + 1);
  assert.equal(report.garbage.bytes, before.garbage.bytes + 1234);
  assert.match(report.notes.join(), /1 objects are not of varve's making/);
  await db.close();
});

test('records that contradict one another are an error of their root', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  await db.putMeta('volumes', Buffer.from('x'));
  await db.barrier();
  const { report } = await check(bed, false, async (meta) => {
    assert.equal(Buffer.from((await meta('volumes'))!).toString(), 'x');
    assert.equal(await meta('none'), undefined);
    throw new StorageError('corrupt', 'volume "a" has no record');
  });
  assert.deepEqual(kinds(report), ['volumes']);
  await db.close();
});

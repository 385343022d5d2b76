// Collection through the engine's door: space comes back, nothing that a root reaches goes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import type { Database } from '../db.ts';
import { createTestBed, noise, type TestBed } from '../testing.ts';

const INODE = 16;
const KIB = 1024;
/** Collects eagerly, and in pieces that a small history fills many times. */
const EAGER = { garbageSoft: 0.1, garbageHard: 0.3, smallSegmentsMax: 1_000_000 };

function storedBytes({ memory }: TestBed): number {
  let bytes = 0;
  for (const object of memory.objects.values()) bytes += object.length;
  return bytes;
}

/** A file and what it must hold. */
class Model {
  readonly bytes: Uint8Array;
  readonly #rng;

  constructor(blocks: number, seed: number) {
    this.bytes = new Uint8Array(blocks * 4 * KIB);
    this.#rng = createSeededRng(seed);
  }

  async fill(db: Database): Promise<void> {
    this.bytes.set(noise(99, this.bytes.length));
    for (let at = 0; at < this.bytes.length; at += 64 * KIB) {
      await db.write(INODE, at, this.bytes.subarray(at, at + 64 * KIB));
    }
    await db.barrier();
  }

  /** Random blocks; a barrier now and then. */
  async overwrite(db: Database, count: number): Promise<void> {
    const blocks = this.bytes.length / (4 * KIB);
    for (let i = 0; i < count; i++) {
      const at = Math.floor(this.#rng.float() * blocks) * 4 * KIB;
      this.bytes.set(this.#rng.bytes(4 * KIB), at);
      await db.write(INODE, at, this.bytes.subarray(at, at + 4 * KIB));
      if (i % 50 === 49) await db.barrier();
    }
  }

  async check(db: Database): Promise<void> {
    const found = new Uint8Array(this.bytes.length);
    await db.read(INODE, 0, found);
    assert.ok(Buffer.compare(found, this.bytes) === 0, 'the file holds what was written');
  }
}

test('overwriting at random keeps the store near what lives, and the content right', async () => {
  const bed = await createTestBed();
  let db = await bed.open(EAGER);
  const model = new Model(1024, 1);
  await model.fill(db);
  for (let round = 0; round < 6; round++) {
    await model.overwrite(db, 1000);
    if (round === 3) {
      await db.close();
      db = await bed.open(EAGER);
    }
    await model.check(db);
  }
  await db.collect(() => {});
  const { collection } = db.status();
  assert.ok(collection.movedBytes > 0, 'live blocks were moved');
  // Eight segments of slack are 512 KiB here; an eighth of the live bytes.
  const factor = storedBytes(bed) / model.bytes.length;
  assert.ok(factor < 1.4, `${factor} times what lives is stored`);
  await model.check(db);
  await db.close();
  const again = await bed.open({ ...EAGER, cacheMemoryBytes: 0 });
  await model.check(again);
  await again.close();
});

test('without collection the same history keeps everything: the test above can fail', async () => {
  const bed = await createTestBed();
  const db = await bed.open({ ...EAGER, garbageSoft: 1e9, garbageHard: 1e9 });
  const model = new Model(1024, 1);
  await model.fill(db);
  for (let round = 0; round < 6; round++) await model.overwrite(db, 1000);
  await db.collect(() => {});
  assert.ok(storedBytes(bed) / model.bytes.length > 2);
  await db.close();
});

test('a trim of everything empties the store within two passes', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  const model = new Model(2048, 2);
  await model.fill(db);
  await model.overwrite(db, 500);
  const full = storedBytes(bed);
  await db.zero(INODE, 0, model.bytes.length, false);
  await db.barrier();
  await db.collect(() => {});
  await db.collect(() => {});
  assert.ok(storedBytes(bed) < full / 100, `${storedBytes(bed)} of ${full} bytes are left`);
  model.bytes.fill(0);
  await model.check(db);
  await db.close();
});

test('small segments of many barriers are joined', async () => {
  const bed = await createTestBed();
  const db = await bed.open({ smallSegmentsMax: 40, segmentBytes: 256 * KIB, logObjectsMax: 30 });
  const model = new Model(256, 3);
  for (let i = 0; i < 256; i++) {
    const block = noise(i, 4 * KIB);
    model.bytes.set(block, i * 4 * KIB);
    await db.write(INODE, i * 4 * KIB, block);
    await db.barrier();
  }
  await db.collect(() => {});
  const logs = [...bed.memory.objects.keys()].filter((key) => key.includes('/log/')).length;
  assert.ok(logs < 60, `${logs} log objects are left of 256`);
  await model.check(db);
  await db.close();
});

test('collection ends, however eager it is and however little it remembers', async () => {
  const bed = await createTestBed();
  const db = await bed.open({
    smallSegmentsMax: 2,
    garbageSoft: 0.02,
    garbageHard: 0.05,
    mapCacheBytes: 0,
    tableCacheBytes: 0,
  });
  const model = new Model(1024, 8);
  await model.fill(db);
  for (let i = 0; i < 300; i++) {
    await model.overwrite(db, 2);
    await db.barrier();
  }
  await db.collect(() => {});
  await model.check(db);
  await db.close();
});

test('a snapshot keeps what it reaches, and no more than that; then it goes', async () => {
  const bed = await createTestBed();
  const db = await bed.open(EAGER);
  const model = new Model(1024, 4);
  await model.fill(db);
  await db.roots.createSnapshot('before');
  const kept = model.bytes.slice();
  for (let round = 0; round < 5; round++) await model.overwrite(db, 1000);
  await db.collect(() => {});
  await model.check(db);
  const factor = storedBytes(bed) / model.bytes.length;
  assert.ok(factor < 2.5, `${factor} with a snapshot held`);
  const [info] = await db.roots.listSnapshots();
  assert.ok(info!.ownBytes > 0.8 * model.bytes.length, `it keeps ${info!.ownBytes}`);
  await db.roots.restore('before');
  model.bytes.set(kept);
  await model.check(db);
  await model.overwrite(db, 100);
  await model.check(db);
  await db.roots.deleteSnapshot('before');
  await db.collect(() => {});
  await model.check(db);
  assert.ok(storedBytes(bed) / model.bytes.length < 1.4, 'the space came back');
  await db.close();
});

test('a branch and its parent go their own ways, and what both need stays', async () => {
  const bed = await createTestBed();
  const db = await bed.open(EAGER);
  const model = new Model(512, 5);
  await model.fill(db);
  await db.roots.createSnapshot('base');
  await db.roots.createBranch('dev', 'base');
  await assert.rejects(db.roots.deleteSnapshot('base'), /"dev"/);
  const child = await bed.open({ ...EAGER, branch: 'dev' });
  const childModel = new Model(512, 6);
  childModel.bytes.set(model.bytes);
  for (let round = 0; round < 4; round++) {
    await model.overwrite(db, 400);
    await childModel.overwrite(child, 200);
    await db.collect(() => {});
    await child.collect(() => {});
    await model.check(db);
    await childModel.check(child);
  }
  await child.close();
  const again = await bed.open({ ...EAGER, branch: 'dev', cacheMemoryBytes: 0 });
  await childModel.check(again);
  await again.roots.createBranch('grandchild');
  await again.close();
  await assert.rejects(db.roots.deleteBranch('dev'), /"grandchild" stands on branch "dev"/);
  await db.roots.deleteBranch('grandchild');
  await db.roots.deleteBranch('dev');
  await db.roots.deleteSnapshot('base');
  await db.collect(() => {});
  await model.check(db);
  assert.ok(storedBytes(bed) / model.bytes.length < 1.45, 'nothing of the branches is left');
  await assert.rejects(bed.open({ branch: 'dev' }), (error) => isStorageError(error, 'notFound'));
  await db.close();
});

test('a server whose branch is deleted is fenced and acknowledges nothing more', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  await db.roots.createBranch('dev');
  const child = await bed.open({ branch: 'dev' });
  await child.write(INODE, 0, noise(1, 4 * KIB));
  await child.barrier();
  await db.roots.deleteBranch('dev');
  await child.write(INODE, 0, noise(2, 4 * KIB));
  await assert.rejects(
    async () => child.barrier(),
    (error) => isStorageError(error, 'fenced'),
  );
  await assert.rejects(child.close(), (error) => isStorageError(error, 'fenced'));
  await db.close();
});

test('names are checked, and what is not there is said to be so', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  for (const name of ['', 'a/b', '-x', 'x'.repeat(200), 'a b', '..']) {
    await assert.rejects(db.roots.createSnapshot(name), (e) => isStorageError(e, 'invalid'), name);
    await assert.rejects(db.roots.createBranch(name), (e) => isStorageError(e, 'invalid'), name);
  }
  await db.roots.createSnapshot('one');
  await assert.rejects(db.roots.createSnapshot('one'), (e) => isStorageError(e, 'exists'));
  await assert.rejects(db.roots.createBranch('main'), (e) => isStorageError(e, 'exists'));
  await assert.rejects(db.roots.deleteSnapshot('two'), /there is: one/);
  await assert.rejects(db.roots.restore('two'), (e) => isStorageError(e, 'notFound'));
  await assert.rejects(db.roots.createBranch('b', 'two'), (e) => isStorageError(e, 'notFound'));
  await assert.rejects(db.roots.deleteBranch('main'), /is the one that is served/);
  await db.close();
});

test('snapshot, branch and restore cost the same few requests whatever is stored', async () => {
  const counts: number[][] = [];
  for (const blocks of [64, 4096]) {
    const bed = await createTestBed();
    const db = await bed.open({ memtableBytes: 4 * 1024 * KIB, logBytesMin: 2 ** 30 });
    const model = new Model(blocks, 7);
    await model.fill(db);
    await db.settled();
    const requests = (): number => {
      const { byCause } = bed.meter.snapshot();
      const kinds = Object.entries(byCause)
        .filter(([cause]) => cause !== 'collection' && cause !== 'compaction')
        .flatMap(([, one]) => Object.values(one));
      return kinds.reduce((sum, kind) => sum + kind.requests, 0);
    };
    const each: number[] = [];
    for (const work of [
      () => db.roots.createSnapshot('s'),
      () => db.roots.createBranch('b', 's'),
      () => db.roots.createBranch('now'),
      () => db.roots.restore('s'),
      () => db.roots.createSnapshot('t'),
    ]) {
      const before = requests();
      await work();
      each.push(requests() - before);
      await db.settled();
    }
    counts.push(each);
    await db.close();
  }
  assert.deepEqual(counts[0], counts[1]);
  assert.ok(Math.max(...counts[0]!) < 20, `${counts[0]!.join(' ')} requests`);
});

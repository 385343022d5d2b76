// The journal tier through the engine's door: what a barrier acknowledged is there after any crash.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { openDatabase } from '../db.ts';
import { noise, PASSPHRASE, TINY } from '../testing.ts';
import { MemoryJournalDisk } from './memory-journal-disk.ts';
import { BLOCK, expectBlock, failAppends, INODE, JournalBed } from './testing.ts';

const SEED = 7;

test('a barrier is one fdatasync and no request, and survives a power cut', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  bed.link.cut = true;
  const before = bed.disk.counts.appends;
  for (let i = 0; i < 10; i++) {
    await db.write(INODE, (i % 4) * BLOCK, noise(i, BLOCK));
    await db.barrier();
  }
  assert.equal(bed.disk.counts.appends - before, 10);
  assert.equal(db.status().durability, 'journal');
  await db.write(INODE, 9 * BLOCK, noise(99, BLOCK));
  bed.crash();
  const again = await bed.open();
  for (let i = 6; i < 10; i++) await expectBlock(again, i % 4, i);
  await again.close();
});

test('records, holes and parts of blocks come back from the journal', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  await db.write(INODE, 0, noise(1, 40 * BLOCK));
  await db.storeBarrier();
  bed.link.cut = true;
  await db.zero(INODE, BLOCK, 20 * BLOCK, false);
  await db.write(INODE, 30 * BLOCK + 100, Buffer.from('patch'));
  await db.putMeta('name', Buffer.from('value'));
  await db.barrier();
  bed.crash();
  const again = await bed.open();
  const found = Buffer.alloc(40 * BLOCK);
  await again.read(INODE, 0, found);
  const wanted = Buffer.from(noise(1, 40 * BLOCK));
  wanted.fill(0, BLOCK, 21 * BLOCK);
  wanted.write('patch', 30 * BLOCK + 100);
  assert.ok(found.equals(wanted));
  assert.equal(Buffer.from((await again.meta('name'))!).toString(), 'value');
  await again.close();
});

test('writers go on through an outage past what memory holds, and reads see it all', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  bed.link.cut = true;
  // TINY segments hold 16 blocks, and there are four of them.
  for (let i = 0; i < 200; i++) {
    await db.write(INODE, i * BLOCK, noise(i, BLOCK));
    if (i % 5 === 4) await db.barrier();
  }
  for (let i = 0; i < 200; i++) await expectBlock(db, i, i);
  assert.ok(db.status().lagBytes >= 190 * BLOCK);
  bed.link.cut = false;
  await db.storeBarrier();
  assert.equal(db.status().lagBytes, 0);
  for (let i = 0; i < 200; i++) await expectBlock(db, i, i);
  await db.close();
  assert.deepEqual(bed.disk.paths, [], 'nothing is left on the disk');
  const elsewhere = await openDatabase(
    {
      store: bed.memory,
      sealer: createInlineSealer(),
      clock: systemClock,
      rng: createSeededRng(SEED),
      log: silentLog,
    },
    { passphrase: PASSPHRASE, ...TINY },
  );
  for (let i = 0; i < 200; i++) await expectBlock(elsewhere, i, i);
  await elsewhere.close();
});

test('random crashes of both disks: what was acknowledged is there', async () => {
  const bed = await JournalBed.create(SEED);
  const acknowledged = new Map<number, number>();
  const written = new Map<number, Set<number>>();
  let seed = 0;
  for (let round = 0; round < 10; round++) {
    const db = await bed.open();
    for (const [block, wanted] of acknowledged) {
      const found = new Uint8Array(BLOCK);
      await db.read(INODE, block * BLOCK, found);
      const allowed = [wanted, ...(written.get(block) ?? [])];
      const hit = allowed.find((one) => Buffer.compare(found, noise(one, BLOCK)) === 0);
      assert.ok(hit !== undefined, `round ${round}: block ${block} holds ${wanted} or newer`);
      acknowledged.set(block, hit);
    }
    written.clear();
    const steps = 5 + Math.floor(bed.rng.float() * 60);
    for (let i = 0; i < steps; i++) {
      const block = Math.floor(bed.rng.float() * 40);
      seed += 1;
      await db.write(INODE, block * BLOCK, noise(seed, BLOCK));
      const since = written.get(block) ?? new Set();
      written.set(block, since.add(seed));
      if (bed.rng.float() < 0.1) bed.link.cut = !bed.link.cut;
      if (bed.rng.float() < 0.3) {
        await db.barrier();
        for (const [one, seeds] of written) acknowledged.set(one, [...seeds].at(-1)!);
        written.clear();
      }
    }
    bed.crash();
  }
});

test('a branch with a journal is refused to whoever has not got it', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  await db.write(INODE, 0, noise(1, BLOCK));
  await db.storeBarrier();
  bed.link.cut = true;
  await db.write(INODE, 0, noise(2, BLOCK));
  await db.barrier();
  bed.crash();
  const kept = bed.disk;
  bed.disk = new MemoryJournalDisk();
  await assert.rejects(bed.open(), (error) => isStorageError(error, 'fenced'));
  await assert.rejects(bed.open({ used: false }), /a journal on here/);
  const abandoned = await bed.open({ abandon: true });
  await expectBlock(abandoned, 0, 1);
  await abandoned.close();
  // Whoever comes back with the journal is told what it holds.
  bed.disk = kept;
  await assert.rejects(bed.open(), /holds \d+ commits.*varve journal export/s);
});

test('a journal is taken up also by a server of the store tier', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  bed.link.cut = true;
  await db.write(INODE, 0, noise(2, BLOCK));
  await db.barrier();
  bed.crash();
  const again = await bed.open({ used: false });
  await expectBlock(again, 0, 2);
  assert.equal(again.status().durability, 'store');
  await again.close();
  bed.disk = new MemoryJournalDisk();
  await (await bed.open()).close();
});

test('a failing disk fails barriers or makes them wait for the store, and heals', async () => {
  for (const onFailure of ['fail', 'store'] as const) {
    const bed = await JournalBed.create(SEED);
    const db = await bed.open({ onFailure });
    await db.write(INODE, 0, noise(1, BLOCK));
    await db.barrier();
    failAppends(bed.disk);
    await db.write(INODE, 0, noise(2, BLOCK));
    if (onFailure === 'store') await db.barrier();
    else await assert.rejects(async () => db.barrier(), /the disk is full/);
    await db.write(INODE, BLOCK, noise(3, BLOCK));
    if (onFailure === 'fail') {
      await assert.rejects(async () => db.barrier(), /the journal has failed/);
      bed.disk.failing = () => undefined;
      await db.close();
      continue;
    }
    await db.barrier();
    assert.ok(db.status().journal?.failure !== undefined);
    bed.disk.failing = () => undefined;
    for (let i = 0; i < 50 && db.status().journal?.failure !== undefined; i++) {
      await db.write(INODE, 2 * BLOCK, noise(i, BLOCK));
      await db.barrier();
      await db.settled();
    }
    assert.equal(db.status().journal?.failure, undefined, 'it goes on in fresh slots');
    bed.link.cut = true;
    await db.write(INODE, 3 * BLOCK, noise(4, BLOCK));
    await db.barrier();
    bed.crash();
    const again = await bed.open();
    await expectBlock(again, 0, 2);
    await expectBlock(again, 1, 3);
    await expectBlock(again, 3, 4);
    await again.close();
  }
});

test('a restore is not undone by the journal of what it dropped', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  await db.write(INODE, 0, noise(1, BLOCK));
  await db.roots.createSnapshot('old');
  await db.write(INODE, 0, noise(2, BLOCK));
  await db.barrier();
  await db.roots.restore('old');
  await expectBlock(db, 0, 1);
  await db.write(INODE, BLOCK, noise(3, BLOCK));
  bed.link.cut = true;
  await db.barrier();
  bed.crash();
  const again = await bed.open();
  await expectBlock(again, 0, 1);
  await expectBlock(again, 1, 3);
  await again.close();
});

test('a damaged record that was acknowledged is corrupt, not the end', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open();
  bed.link.cut = true;
  for (let i = 0; i < 3; i++) {
    await db.write(INODE, i * BLOCK, noise(i, BLOCK));
    await db.barrier();
  }
  bed.crash();
  bed.disk.damage(/-1\.journal$/, 2 * 4096 + 200);
  await assert.rejects(bed.open(), (error) => isStorageError(error, 'corrupt'));
});

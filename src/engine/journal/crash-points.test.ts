// Moments at which a power cut once left a journal that was taken for something else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError, StorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { allocateShared } from '../../codec/shared.ts';
import { openRoot } from '../db.ts';
import { noise, PASSPHRASE } from '../testing.ts';
import { Journal } from './journal.ts';
import type { MemoryJournalDisk } from './memory-journal-disk.ts';
import { findJournals } from './read-journal.ts';
import { BLOCK, expectBlock, failAppends, INODE, JournalBed } from './testing.ts';

const SEED = 11;

async function journalBed(): Promise<{
  readonly disk: MemoryJournalDisk;
  readonly journal: Journal;
  readonly records: () => Promise<number[]>;
}> {
  const bed = await JournalBed.create(SEED);
  const { keyring } = await openRoot(bed.memory, PASSPHRASE, 'open');
  const { disk, rng } = bed;
  const components = { disk, sealer: createInlineSealer(), keyring, clock: systemClock, rng };
  const settings = { directory: 'journal/b', bytesMax: 1024 * 1024, host: 'here' };
  const owner = { branch: 'b', epoch: 1 };
  const journal = new Journal({ ...components, log: silentLog }, settings, owner);
  await journal.start();
  const records = async (): Promise<number[]> => {
    const [found] = await findJournals(components, 'journal/b', 'b');
    const sequences: number[] = [];
    for await (const { sequence } of found!.records(0)) sequences.push(sequence);
    return sequences;
  };
  return { disk, journal, records };
}

test('of records that no one had synced a power cut may leave the second: the end', async () => {
  const { disk, journal, records } = await journalBed();
  const plain = allocateShared(100);
  await journal.append(plain, 1, true);
  await journal.append(plain, 2, false);
  await journal.append(plain, 3, false);
  assert.deepEqual(await records(), [1, 2, 3]);
  disk.damage(/-1\.journal$/, 2 * BLOCK + 20);
  assert.deepEqual(await records(), [1]);
});

test('a record that was synced before a later one was written is missed', async () => {
  const { disk, journal, records } = await journalBed();
  const plain = allocateShared(100);
  for (let sequence = 1; sequence <= 3; sequence++) await journal.append(plain, sequence, true);
  disk.damage(/-1\.journal$/, 2 * BLOCK + 20);
  await assert.rejects(records(), (error) => isStorageError(error, 'corrupt'));
});

test('a power cut while a clean close removes the journal keeps no one out', async () => {
  for (let cut = 1; cut <= 6; cut++) {
    const bed = await JournalBed.create(SEED);
    const db = await bed.open({ onFailure: 'store' });
    for (let i = 0; i < 40; i++) {
      await db.write(INODE, i * BLOCK, noise(i, BLOCK));
      await db.barrier();
    }
    let removals = 0;
    bed.disk.failing = (operation) => {
      const counts = operation === 'remove' || operation === 'sync';
      if (!counts || ++removals < cut) return undefined;
      return new StorageError('unavailable', 'the power is gone');
    };
    await db.close().catch(() => {});
    bed.crash();
    const again = await bed.open({ onFailure: 'store' });
    await expectBlock(again, 39, 39);
    await again.close();
  }
});

test('a power cut behind the manifest that names a fresh journal keeps no one out', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open({ onFailure: 'store' });
  await db.write(INODE, 0, noise(1, BLOCK));
  await db.barrier();
  bed.crash();
  for (let round = 0; round < 8; round++) {
    // The manifest is there; no old slot goes any more.
    let removals = 0;
    bed.disk.failing = (operation) => {
      if (operation !== 'remove' || removals++ < round / 2) return undefined;
      return new StorageError('unavailable', 'the power is gone');
    };
    await bed.open({ onFailure: 'store' }).catch(() => {});
    bed.crash();
  }
  const again = await bed.open({ onFailure: 'store' });
  await expectBlock(again, 0, 1);
  await again.close();
});

test('a failed journal begins afresh when the store has all that it acknowledged', async () => {
  const bed = await JournalBed.create(SEED);
  const db = await bed.open({}, { idleCloseMs: 600_000 });
  const puts: (() => void)[] = [];
  bed.onPut = (key) =>
    key.includes('/log/') ? new Promise<void>((resolve) => puts.push(resolve)) : undefined;
  // Two full segments wait for the store; what the journal acknowledges then is in the open one.
  await db.write(INODE, 0, noise(1, 16 * BLOCK));
  await db.write(INODE, 16 * BLOCK, noise(2, 16 * BLOCK));
  await db.write(INODE, 40 * BLOCK, noise(3, BLOCK));
  await db.barrier();
  failAppends(bed.disk);
  await db.write(INODE, 41 * BLOCK, noise(4, BLOCK));
  await assert.rejects(async () => db.barrier(), /the disk is full/);
  bed.disk.failing = () => undefined;
  // The first makes it prepare a fresh slot, the second shows it that the store goes on.
  for (const release of puts.slice(0, 2)) {
    release();
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
  }
  assert.ok(puts.length >= 2, 'both were offered to the store');
  // Every name is as it was last.
  bed.crash({ ...createSeededRng(1), float: () => 0.9 });
  const again = await bed.open({ onFailure: 'store' });
  await expectBlock(again, 40, 3);
  await again.close();
});

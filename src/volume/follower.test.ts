import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../base/rng.ts';
import { silentLog } from '../base/log.ts';
import { createInlineSealer } from '../codec/sealer.ts';
import { type Database, initStore, openDatabase } from '../engine/db.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import { createMemoryStore } from '../objectstore/memory.ts';
import { openVolumes } from './volumes.ts';

const PASSPHRASE = 'correct horse battery staple';
const KEY_SLOT_COST = { memoryKiB: 8, passes: 1, parallelism: 1 };
const SETTINGS = { readAheadBytes: 0 };
const MIB = 1024 * 1024;

test('volumes that the writer makes, grows and removes are so on a follower', async () => {
  const store = createMemoryStore();
  const rng = createSeededRng(1);
  const clock = createManualClock();
  await initStore(
    { store, rng, clock },
    {
      passphrase: PASSPHRASE,
      cipher: 'chacha20-poly1305',
      compression: 'lz4',
      keySlotCost: KEY_SLOT_COST,
    },
  );
  const open = (readOnly: boolean): Promise<Database> =>
    openDatabase(
      { store, sealer: createInlineSealer(), clock: createManualClock(), rng, log: silentLog },
      { passphrase: PASSPHRASE, readOnly, followIntervalMs: 1000 },
    );
  const database = await open(false);
  const volumes = await openVolumes(database, SETTINGS);
  await volumes.create('old', MIB);
  await volumes.create('kept', MIB);
  const follower = await open(true);
  const seen = await openVolumes(follower, SETTINGS);
  follower.onRecords(() => seen.reload());
  const names = (): [string, number][] => seen.list().map((one) => [one.name, one.sizeBytes]);
  const handle = seen.open('kept');
  await volumes.create('new', 2 * MIB);
  await volumes.remove('old');
  await volumes.resize('kept', 3 * MIB, { force: false });
  await follower.refresh();
  assert.deepEqual(names(), [
    ['kept', 3 * MIB],
    ['new', 2 * MIB],
  ]);
  assert.equal(handle.sizeBytes, MIB);
  assert.equal(seen.open('kept').sizeBytes, 3 * MIB);
  await database.roots.createSnapshot('now');
  await volumes.remove('new');
  await volumes.restore('now');
  await follower.refresh();
  assert.deepEqual(names(), [
    ['kept', 3 * MIB],
    ['new', 2 * MIB],
  ]);
  await follower.close();
  await database.close();
});

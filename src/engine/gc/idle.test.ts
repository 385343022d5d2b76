// What a server that nobody uses asks of the store.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { openVolumes } from '../../volume/volumes.ts';
import { openDatabase } from '../db.ts';
import { createTestBed, noise, PASSPHRASE } from '../testing.ts';

const MINUTE_MS = 60_000;

test('an idle server with a volume of 16 GiB makes at most ten requests an hour', async () => {
  const bed = await createTestBed();
  const clock = createManualClock();
  const db = await openDatabase(
    {
      store: bed.store,
      sealer: createInlineSealer(),
      clock,
      rng: createSeededRng(1),
      log: silentLog,
    },
    { passphrase: PASSPHRASE },
  );
  const volumes = await openVolumes(db, { readAheadBytes: 0 });
  await volumes.create('disk', 16 * 2 ** 30);
  const device = volumes.open('disk');
  const requests = (): number => {
    const { total } = bed.meter.snapshot();
    return Object.values(total).reduce((sum, kind) => sum + kind.requests, 0);
  };
  // Spread over the whole volume, overwritten, trimmed: there is something to flush and to collect.
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 64; at++) await device.write(at * 2 ** 28, noise(at, 64 * 1024));
    await device.flush();
  }
  await device.trim(0, 8 * 2 ** 30);
  const hours: number[] = [];
  for (let hour = 0; hour < 3; hour++) {
    const before = requests();
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(MINUTE_MS);
      await db.settled();
    }
    hours.push(requests() - before);
  }
  // The first hour flushes and collects what was left; after that there is nothing to do at all.
  assert.deepEqual(hours.slice(1), [0, 0]);
  assert.ok(db.status().flushes > 0, 'the memtable was flushed when the server fell quiet');
  await db.close();
});

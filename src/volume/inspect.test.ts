import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { createTestBed } from '../engine/testing.ts';
import { inspectVolumes } from './inspect.ts';
import { openVolumes } from './volumes.ts';

test('volumes are read as they were made, and records that do not fit are damage', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  assert.deepEqual(await inspectVolumes((name) => db.meta(name)), []);
  const volumes = await openVolumes(db, { readAheadBytes: 0 });
  await volumes.create('one', 8192);
  await volumes.create('two', 4096);
  const found = await inspectVolumes((name) => db.meta(name));
  assert.deepEqual(
    found.map(({ name, sizeBytes }) => [name, sizeBytes]),
    [
      ['one', 8192],
      ['two', 4096],
    ],
  );
  const damage = (error: unknown): boolean => isStorageError(error, 'corrupt');
  const first = (await db.meta('volume/one'))!.slice();
  await db.putMeta('volume/two', first);
  await assert.rejects(
    inspectVolumes((name) => db.meta(name)),
    damage,
  );
  await db.putMeta('volume/two', undefined);
  await assert.rejects(
    inspectVolumes((name) => db.meta(name)),
    damage,
  );
  await db.putMeta('volume/two', Uint8Array.of(1, 99, 0));
  await assert.rejects(
    inspectVolumes((name) => db.meta(name)),
    damage,
  );
  await db.close();
});

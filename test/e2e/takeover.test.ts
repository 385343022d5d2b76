// A writer that never pauses cannot keep its successor out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../src/base/errors.ts';
import { systemClock } from '../../src/base/system.ts';
import { createTestBed, noise } from '../../src/engine/testing.ts';
import { withLatency } from '../../src/objectstore/latency.ts';

const INODE = 16;
const LATENCY_MS = 5;
/** Barriers that the old writer may still get while it is taken over: some 10 s of them. */
const BARRIERS_MAX = 1500;

test('a second writer takes over a branch whose first one commits all the time', async () => {
  const bed = await createTestBed();
  const store = withLatency(bed.store, systemClock, LATENCY_MS);
  // No manifest of its own tells the old writer: that would be luck.
  const settings = { logObjectsMax: 1_000_000, memtableBytes: 64 * 1024 * 1024 };
  const first = await bed.open(settings, store);
  let acknowledged = 0;
  let taken = false;
  const counting = (async () => {
    while (taken || acknowledged < BARRIERS_MAX) {
      await first.write(INODE, 0, noise(acknowledged, 4096));
      await first.barrier();
      acknowledged += 1;
    }
    throw new Error(`after ${BARRIERS_MAX} barriers of the old writer the new one still waits`);
  })();
  const opening = bed.open(settings, store).then((db) => {
    taken = true;
    return db;
  });
  await assert.rejects(counting, (error) => {
    assert.ok(isStorageError(error, 'fenced'), String(error));
    return true;
  });
  const second = await opening;
  const block = new Uint8Array(4096);
  await second.read(INODE, 0, block);
  // What was under way when the fence came may be there without having been acknowledged.
  const candidates = [acknowledged - 1, acknowledged].map((n) => Buffer.from(noise(n, 4096)));
  assert.ok(candidates.some((one) => one.equals(block)));
  await second.close();
});

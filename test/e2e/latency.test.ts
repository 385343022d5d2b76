// A durable flush takes one round trip to the store: seen by a real client, 30 ms away.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { systemClock, systemRng } from '../../src/base/system.ts';
import { createSealerPool } from '../../src/codec/sealer-pool.ts';
import { initStore, openDatabase } from '../../src/engine/db.ts';
import { INIT_OPTIONS, PASSPHRASE } from '../../src/engine/testing.ts';
import { withLatency } from '../../src/objectstore/latency.ts';
import { createMemoryStore } from '../../src/objectstore/memory.ts';
import { withMeter } from '../../src/objectstore/metered.ts';
import { NBD_SERVER_DEFAULTS, startNbdServer } from '../../src/server/nbd/server.ts';
import { openVolumes } from '../../src/volume/volumes.ts';
import { nbdsh } from '../support/command.ts';

const LATENCY_MS = 30;
const FLUSHES = 50;
/** What it is meant to be is 35; a noisy machine gets some more before this fails. */
const MEDIAN_MS_MAX = 45;

test('with a store 30 ms away the median FLUSH takes one round trip and little more', async () => {
  await using open = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'varve-latency-'));
  open.defer(() => rm(folder, { recursive: true, force: true }));
  const components = { clock: systemClock, rng: systemRng, log: silentLog };
  const near = createMemoryStore();
  await initStore({ store: near, ...components }, INIT_OPTIONS);
  const store = withMeter(withLatency(near, systemClock, LATENCY_MS));
  const sealer = createSealerPool({ threads: 1, inlineBytesMax: 16 * 1024, log: silentLog });
  open.defer(() => sealer.close());
  const db = await openDatabase({ store, sealer, ...components }, { passphrase: PASSPHRASE });
  open.defer(() => db.close());
  const volumes = await openVolumes(db, { readAheadBytes: 0 });
  await volumes.create('disk', 64 * 1024 * 1024);
  const path = join(folder, 'nbd.sock');
  const nbd = await startNbdServer(
    { directory: volumes, clock: systemClock, log: silentLog },
    { addresses: [{ path }], ...NBD_SERVER_DEFAULTS },
  );
  open.defer(() => nbd.stop());

  const before = store.meter.snapshot();
  const said = await nbdsh(`nbd+unix:///disk?socket=${path}`, [
    'import os, time',
    'for i in range(5): h.pwrite(os.urandom(4096), i << 20); h.flush()',
    `for i in range(${FLUSHES}):`,
    '    for k in range(4): h.pwrite(os.urandom(8192), ((i * 7 + k * 13) % 60) << 20)',
    '    began = time.perf_counter()',
    '    h.flush()',
    '    print((time.perf_counter() - began) * 1000)',
  ]);
  const after = store.meter.snapshot();
  const times = said
    .trim()
    .split('\n')
    .map(Number)
    .toSorted((a, b) => a - b);
  const [median, slowest] = [times[FLUSHES >> 1]!, times.at(-1)!];
  process.stdout.write(
    `FLUSH at ${LATENCY_MS} ms: median ${median.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms\n`,
  );
  assert.equal(times.length, FLUSHES);
  const puts = after.byCause.barrier.put.requests - before.byCause.barrier.put.requests;
  assert.equal(puts, FLUSHES + 5, 'one PUT for each flush');
  assert.equal(after.total.get.requests, before.total.get.requests, 'and nothing else');
  assert.ok(times[0]! >= LATENCY_MS - 1, 'no flush is acknowledged before its PUT');
  assert.ok(median <= MEDIAN_MS_MAX, `the median is ${median} ms`);
});

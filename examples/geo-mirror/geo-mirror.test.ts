// The example at a small size: a pool over regions goes on without one of them, and what comes back
// gets what it missed, and no more.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Gateway, openGateway } from '../../test/support/gateway.ts';
import { runGeoMirror } from './run.ts';
import type { Tier } from './site.ts';

let gateway: Gateway;
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'varve-geo-'));
  gateway = await openGateway();
});
after(async () => {
  await gateway.stop();
  await rm(dir, { recursive: true, force: true });
});

function run(tier: Tier) {
  const { signal } = new AbortController();
  const load = { scale: 2, clients: 4, seconds: 3 };
  return runGeoMirror({ gateway, dir, tier, volumeSize: '2G', signal, ...load });
}

test('store tier: a bucket and a server fail, one after the other', async () => {
  const { phases, absences, ledger, scrub } = await run('store');
  assert.deepEqual(
    phases.map(({ state }) => state),
    ['ONLINE', 'DEGRADED', 'ONLINE', 'DEGRADED', 'ONLINE'],
  );
  assert.deepEqual(
    absences.map(({ region }) => region),
    ['mid', 'far'],
  );
  for (const { resilveredBytes, storedBytes } of absences) {
    assert.ok(resilveredBytes > 0 && resilveredBytes < storedBytes, 'what it missed, and no more');
  }
  assert.ok(ledger.acknowledged > 0);
  assert.match(scrub, /with 0 errors/);
});

test('journal tier: a bucket that is away is not noticed by the pool', async () => {
  const { phases, absences } = await run('journal');
  assert.deepEqual(
    phases.map(({ state }) => state),
    ['ONLINE', 'ONLINE', 'ONLINE', 'DEGRADED', 'ONLINE'],
  );
  assert.deepEqual(
    absences.map(({ region }) => region),
    ['far'],
  );
});

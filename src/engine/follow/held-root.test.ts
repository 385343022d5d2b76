import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { openRoot } from '../db.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { findBranch } from '../store-root.ts';
import { noise, PASSPHRASE } from '../testing.ts';
import { holdRoot } from './held-root.ts';
import { createFollowBed, INODE, withHook } from './testing.ts';

test('a root is held only if it is the newest once the lease is there', async () => {
  const bed = await createFollowBed(1);
  const { db } = await bed.writer();
  await db.write(INODE, 0, noise(1, 5000));
  await db.roots.createSnapshot('one');
  let races = 0;
  let until = 3;
  const store = withHook(bed.memory, async (request, key) => {
    if (request !== 'put' || !key.includes('/readers/')) return;
    races += 1;
    if (races > until) return;
    await db.write(INODE, 0, noise(races, 5000));
    await db.roots.createSnapshot(`race${races}`);
    await db.settled();
  });
  const rng = createSeededRng(2);
  const { keyring } = await openRoot(store, PASSPHRASE, 'open');
  const branch = await findBranch(store, keyring, 'main');
  const manifests = createManifestChain(store, keyring, rng, branch);
  const clock = createManualClock();
  const components = { store, keyring, clock, rng, log: silentLog, manifests };
  const root = await holdRoot(components, { branch, snapshot: undefined });
  assert.equal(races, 4);
  assert.equal(root.number, bed.newest());
  assert.equal(bed.leases().length, 1, 'the leases of the roots that fell are given back');
  // A snapshot is held by whatever manifest lists it.
  until = 5;
  const kept = await holdRoot(components, { branch, snapshot: 'one' });
  assert.equal(races, 5);
  assert.ok(kept.number < bed.newest() && kept.newest === bed.newest());
  // One that goes while its lease is put is not.
  const store2 = withHook(bed.memory, async (request) => {
    if (request === 'put') await db.roots.deleteSnapshot('one');
  });
  await assert.rejects(holdRoot({ ...components, store: store2 }, { branch, snapshot: 'one' }), {
    kind: 'notFound',
  });
  await root.lease.release();
  await kept.lease.release();
  assert.deepEqual(bed.leases(), []);
  assert.equal(clock.pending(), 0);
});

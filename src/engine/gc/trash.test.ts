// Objects on their way out, beside a store that refuses to delete and readers that hold some.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createManualClock, type ManualClock } from '../../objectstore/manual-clock.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import { Lease } from '../follow/lease.ts';
import { withHook } from '../follow/testing.ts';
import { logName, tableName } from '../format/names.ts';
import { Lineage } from '../manifest/lineage.ts';
import { FIRST_MANIFEST } from '../manifest/manifest.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { Publisher } from '../manifest/publisher.ts';
import { Tables } from '../tables.ts';
import { Grace } from './grace.ts';
import { Pins } from './pins.ts';
import { Trash } from './trash.ts';

const BRANCH = 'b';
/** More than the pause before a batch that failed is tried again. */
const RETRY_MS = 10_000;

interface Bed {
  readonly trash: Trash;
  readonly clock: ManualClock;
  /** A reader's hold on the head, and the log behind it. */
  lease(): Promise<Lease>;
  /** Keys that a delete was asked of, in order. */
  readonly asked: string[];
  /** Asked about each key; true: the store refuses. */
  refuses: (key: string) => boolean;
}

/** The trash of a branch whose head is manifest 1: it reaches no table. */
async function createBed(): Promise<Bed> {
  const asked: string[] = [];
  const rng = createSeededRng(1);
  const keyring = createKeyring({
    dataKey: rng.bytes(32),
    storeId: Buffer.from(rng.bytes(16)).toString('hex'),
    cipher: 'chacha20-poly1305',
  });
  const clock = createManualClock();
  const store = withHook(createMemoryStore(), (request, key) => {
    if (request !== 'delete' || key.includes('/readers/')) return;
    asked.push(key);
    if (bed.refuses(key)) throw new StorageError('unavailable', 'the store is away');
  });
  const { signal } = new AbortController();
  const lineage = new Lineage(BRANCH, []);
  const manifests = createManifestChain(store, keyring, rng, BRANCH);
  await manifests.publish(1, FIRST_MANIFEST, 'admin');
  const components = { store, keyring, clock, rng, log: silentLog, signal, lineage, manifests };
  const head = { number: 1, manifest: FIRST_MANIFEST };
  const publisher = new Publisher({ ...components, onReplaced: () => {} }, head);
  const tables = new Tables({ ...components, sealer: createInlineSealer() }, lineage, 1, 0);
  const pins = new Pins({ ...components, publisher, tables });
  const trash = new Trash({ ...components, pins, grace: new Grace() });
  const reader = { branch: BRANCH, manifest: 1, holder: 'a reader', log: true };
  const bed: Bed = {
    trash,
    clock,
    asked,
    lease: () => Lease.take(components, reader),
    refuses: () => false,
  };
  return bed;
}

test('what a lease holds is kept once, however often the rest could not be deleted', async () => {
  const bed = await createBed();
  const { trash, clock, asked } = bed;
  const lease = await bed.lease();
  const [table, log] = [tableName(BRANCH, 7), logName(BRANCH, 5)];
  bed.refuses = (key) => key === table;
  trash.add([
    { kind: 'table', id: 7, bytes: 100 },
    { kind: 'log', id: 5, bytes: 10 },
  ]);
  await trash.drained();
  for (let retry = 0; retry < 3; retry++) {
    clock.advance(RETRY_MS);
    await trash.drained();
  }
  assert.deepEqual(asked, [table, table, table, table], 'the lease holds the log object');
  bed.refuses = () => false;
  clock.advance(RETRY_MS);
  await trash.drained();
  assert.deepEqual(trash.counters, { deletedObjects: 1, deletedBytes: 100 });
  asked.length = 0;
  await lease.release();
  await trash.drained();
  assert.deepEqual(asked, [log]);
  assert.deepEqual(trash.counters, { deletedObjects: 2, deletedBytes: 110 });
});

test('what is forgotten while it is deleted does not come back', async () => {
  const bed = await createBed();
  const { trash, clock, asked } = bed;
  const lease = await bed.lease();
  bed.refuses = (key) => {
    // A restore: the head may reach all of it again.
    trash.forget();
    return key === tableName(BRANCH, 7);
  };
  const held = { kind: 'log', id: 5, bytes: 10 } as const;
  for (const id of [7, 8]) {
    trash.add([{ kind: 'table', id, bytes: 100 }, held]);
    await trash.drained();
  }
  await lease.release();
  clock.advance(RETRY_MS);
  await trash.drained();
  assert.deepEqual(asked, [tableName(BRANCH, 7), tableName(BRANCH, 8)]);
});

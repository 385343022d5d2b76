import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import type { Database } from '../db.ts';
import { LEASE_MS } from '../format/lease.ts';
import { noise } from '../testing.ts';
import {
  assertBytes,
  createFollowBed,
  FOLLOW_MS,
  INODE,
  type Opened,
  readAll,
  settle,
  withHook,
} from './testing.ts';

const SIZE = 300_000;

/** Overwrites everything, and has what was there before deleted if nothing keeps it. */
async function replaceAll(db: Database, seed: number): Promise<Uint8Array> {
  const data = noise(seed, SIZE);
  await db.write(INODE, 0, data);
  await db.barrier();
  await db.collect(() => {});
  await db.settled();
  return data;
}

function down(): never {
  throw new StorageError('unavailable', 'the store is down');
}

/** Lets time go by on all clocks, in steps in which everything gets its turn. */
async function pass(ms: number, ...processes: readonly Opened[]): Promise<void> {
  for (let at = 0; at < ms; at += 5000) {
    for (const { clock } of processes) clock.advance(5000);
    await settle();
  }
}

test('a lease is renewed, and holds what it names for as long as it takes', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  const data = await replaceAll(writer.db, 1);
  // Follows once in a blue moon: it reads the old state all the time.
  const follower = await bed.follower(bed.memory, { followIntervalMs: 1e9 });
  const names = new Set<string>();
  for (let round = 2; round < 8; round++) {
    await replaceAll(writer.db, round);
    await pass(LEASE_MS / 2, writer, follower);
    const leases = bed.leases();
    assert.equal(leases.length, 1);
    names.add(leases[0]!);
    assertBytes(await readAll(follower.db, SIZE), data);
    assert.ok(follower.db.status().following!.leaseAgoMs <= LEASE_MS / 6);
  }
  assert.ok(names.size >= 6, 'the lease was renewed');
  await follower.db.close();
  assert.deepEqual(bed.leases(), []);
});

test('without renewals reads are refused before the writer deletes, and come back', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  const data = await replaceAll(writer.db, 1);
  let isDown = false;
  const store = withHook(bed.memory, (request, key) => {
    if (isDown && (request === 'put' || request === 'list' || key.includes('/readers/'))) down();
  });
  const follower = await bed.follower(store);
  const small = await bed.follower(store, { cacheMemoryBytes: 4 * 1024 * 1024 });
  assertBytes(await readAll(small.db, SIZE), data);
  isDown = true;
  await pass(LEASE_MS / 2 - 25_000, writer, follower, small);
  // The lease still holds: what the store has can be read, though nothing can be listed.
  assertBytes(await readAll(follower.db, SIZE), data);
  await pass(LEASE_MS * 2, writer, follower, small);
  const newer = await replaceAll(writer.db, 2);
  await assert.rejects(readAll(follower.db, SIZE), {
    kind: 'unavailable',
    message: /lease ran out/,
  });
  assertBytes(await readAll(small.db, SIZE), data, 'what memory holds is served');
  const { refreshedAgoMs, leaseAgoMs } = follower.db.status().following!;
  assert.ok(refreshedAgoMs > LEASE_MS && leaseAgoMs > LEASE_MS);
  isDown = false;
  await pass(FOLLOW_MS, follower, small);
  assertBytes(await readAll(follower.db, SIZE), newer);
  assertBytes(await readAll(small.db, SIZE), newer);
  await follower.db.close();
  await small.db.close();
});

test('a reader whose clock stood still fails loudly, or finds the newest state', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  await replaceAll(writer.db, 1);
  let isDown = false;
  const store = withHook(bed.memory, (request) => {
    if (isDown && request !== 'get') down();
  });
  const stalled = await bed.follower(store);
  const other = await bed.follower(store);
  // Twice: a lease is void when it was seen, and seen again unchanged.
  await replaceAll(writer.db, 2);
  await pass(LEASE_MS * 2, writer);
  const newest = await replaceAll(writer.db, 3);
  await pass(LEASE_MS * 2, writer);
  assert.deepEqual(bed.leases(), []);
  isDown = true;
  await assert.rejects(readAll(stalled.db, SIZE), { kind: 'unavailable' });
  isDown = false;
  assertBytes(await readAll(stalled.db, SIZE), newest);
  assert.equal(stalled.db.status().following!.manifest, bed.newest());
  assert.equal(bed.leases().length, 1);
  // The log that it would read on is gone: that is no damage.
  await other.db.refresh();
  assertBytes(await readAll(other.db, SIZE), newest);
  await stalled.db.close();
  await other.db.close();
});

test('a read that falls behind again and again goes on under each newer state', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  await replaceAll(writer.db, 1);
  let data: Uint8Array = new Uint8Array();
  const fallen: number[] = [];
  const store = withHook(bed.memory, async (request, key) => {
    if (request !== 'get' || !/\/(log|data)\//.test(key) || !isOpen) return;
    const { manifest } = stalled.db.status().following!;
    if (fallen.includes(manifest) || fallen.length === 3) return;
    fallen.push(manifest);
    // A lease is void when it was seen, and seen again unchanged: then what it held goes.
    for (let round = 1; round <= 3; round++) {
      data = await replaceAll(writer.db, 10 * fallen.length + round);
      await pass(LEASE_MS * 2, writer);
    }
  });
  let isOpen = false;
  const stalled = await bed.follower(store);
  isOpen = true;
  const got = await readAll(stalled.db, SIZE);
  assert.equal(fallen.length, 3);
  assertBytes(got, data);
  await stalled.db.close();
});

test('a root that falls while its lease is put is let go of for the newer one', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  await replaceAll(writer.db, 1);
  let data: Uint8Array = new Uint8Array();
  let races = 0;
  const store = withHook(bed.memory, async (request, key) => {
    if (request !== 'put' || !key.includes('/readers/') || races === 3) return;
    races += 1;
    data = await replaceAll(writer.db, 10 + races);
  });
  const follower = await bed.follower(store);
  assert.equal(races, 3);
  assert.equal(follower.db.status().following!.manifest, bed.newest());
  assert.equal(bed.leases().length, 1);
  await replaceAll(writer.db, 20);
  assertBytes(await readAll(follower.db, SIZE), data);
  await follower.db.close();
});

test('the old lease goes when the readers that began under it are through', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  const data = await replaceAll(writer.db, 1);
  const held = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const store = withHook(bed.memory, async (request, key) => {
    if (request !== 'get' || !/\/(log|data)\//.test(key) || !armed) return;
    reached.resolve();
    await held.promise;
  });
  let armed = false;
  const follower = await bed.follower(store);
  armed = true;
  const reading = readAll(follower.db, SIZE);
  await reached.promise;
  armed = false;
  for (let round = 2; round < 6; round++) {
    await replaceAll(writer.db, round);
    await follower.db.refresh();
    await settle();
    // The newer one, and not one for each state that was passed meanwhile.
    assert.equal(bed.leases().length, 2);
  }
  held.resolve();
  const got = await reading;
  await settle();
  assert.equal(bed.leases().length, 1);
  assertBytes(got, data);
  await follower.db.refresh();
  assert.equal(follower.db.status().following!.manifest, bed.newest());
  await follower.db.close();
});

test('a snapshot is served as it was, whatever becomes of it', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  const data = await replaceAll(writer.db, 1);
  await writer.db.roots.createSnapshot('monday');
  await replaceAll(writer.db, 2);
  const store = withHook(bed.memory, () => {});
  const server = await bed.follower(store, { followIntervalMs: undefined, snapshot: 'monday' });
  assertBytes(await readAll(server.db, SIZE), data);
  const before = store.meter.snapshot().total.list.requests;
  await pass(LEASE_MS, writer, server);
  assert.equal(store.meter.snapshot().total.list.requests, before, 'a snapshot is not followed');
  await writer.db.roots.deleteSnapshot('monday');
  await replaceAll(writer.db, 3);
  await pass(LEASE_MS, writer, server);
  assertBytes(await readAll(server.db, SIZE), data, 'the lease keeps it');
  await server.db.close();
  await assert.rejects(bed.follower(bed.memory, { snapshot: 'monday' }), {
    kind: 'notFound',
    message: /no snapshot "monday"/,
  });
  assert.deepEqual(bed.leases(), []);
});

test('a snapshot server that lost its lease takes another', async () => {
  const bed = await createFollowBed(1);
  const writer = await bed.writer();
  const data = await replaceAll(writer.db, 1);
  await writer.db.roots.createSnapshot('monday');
  let isDown = false;
  const store = withHook(bed.memory, () => (isDown ? down() : undefined));
  const server = await bed.follower(store, { snapshot: 'monday' });
  isDown = true;
  await pass(LEASE_MS, server);
  await assert.rejects(readAll(server.db, SIZE), { kind: 'unavailable' });
  await replaceAll(writer.db, 2);
  isDown = false;
  await pass(FOLLOW_MS, server);
  assertBytes(await readAll(server.db, SIZE), data);
  assert.ok(server.db.status().following!.leaseAgoMs <= LEASE_MS / 6);
  await server.db.close();
});

test('a store that refuses leases is told apart', async () => {
  const bed = await createFollowBed(1);
  const store = withHook(bed.memory, (request) => {
    if (request === 'put') throw new StorageError('denied', 'these credentials only read');
  });
  await assert.rejects(bed.follower(store), { kind: 'denied', message: /readers\// });
  await assert.rejects(bed.writer({ snapshot: 'monday' }), { kind: 'invalid' });
});

// What the engine asks of the store, counted: the request bill is part of the contract.

import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import { createSeededRng } from '../../src/base/rng.ts';
import { type Database, DATABASE_DEFAULTS } from '../../src/engine/db.ts';
import { createTestBed, noise, type TestBed } from '../../src/engine/testing.ts';
import type { MeterSnapshot } from '../../src/objectstore/metered.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';

const INODE = 16;
const KIB = 1024;
const MIB = 1024 * KIB;

interface Gate {
  readonly store: ObjectStore;
  /** Log objects whose PUT was begun. */
  readonly begun: () => number;
  /** Lets the oldest PUT that waits go on. */
  release(): void;
}

/** Holds every PUT of a log object until it is released. */
function gatePuts(store: ObjectStore): Gate {
  const waiting: (() => void)[] = [];
  let begun = 0;
  return {
    begun: () => begun,
    release: () => waiting.shift()!(),
    store: {
      ...store,
      async putIfAbsent(key, body, options) {
        if (options.cause === 'barrier') {
          begun += 1;
          await new Promise<void>((resolve) => waiting.push(resolve));
        }
        await store.putIfAbsent(key, body, options);
      },
    },
  };
}

/** Turns of the event loop, until `condition` holds: everything is in this process. */
async function turnsUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

// A PUT too many waits at the gate for ever: that must be a failure, not a hang.
const GATED = { timeout: 30_000 };

test('barriers while a PUT is under way cost one further PUT, however many', GATED, async () => {
  const bed = await createTestBed();
  const gate = gatePuts(bed.store);
  const db = await bed.open({ idleCloseMs: 1e9, segmentBytes: MIB }, gate.store);
  await db.write(INODE, 0, noise(1, 4096));
  const settled: number[] = [];
  const first = Promise.resolve(db.barrier()).then(() => settled.push(0));
  await turnsUntil(() => gate.begun() === 1);
  const others: Promise<unknown>[] = [];
  for (let i = 1; i <= 50; i++) {
    await db.write(INODE, i * 4096, noise(i, 4096));
    others.push(Promise.resolve(db.barrier()).then(() => settled.push(i)));
    await turns(3);
  }
  assert.equal(gate.begun(), 1, 'they wait for the one that is under way');
  gate.release();
  await first;
  await turnsUntil(() => gate.begun() === 2);
  await turns(20);
  assert.deepEqual(settled, [0], 'none is acknowledged before its own PUT');
  gate.release();
  await Promise.all(others);
  await turns(20);
  assert.equal(gate.begun(), 2);
  assert.equal(bed.meter.snapshot().byCause.barrier.put.requests, 2);
});

test('a barrier with nothing new costs nothing and takes no promise', async () => {
  const bed = await createTestBed();
  const db = await bed.open();
  await db.write(INODE, 0, noise(1, 4096));
  await db.barrier();
  const before = bed.meter.snapshot();
  for (let i = 0; i < 100; i++) assert.equal(db.barrier(), undefined);
  await db.read(INODE, 0, new Uint8Array(4096));
  assert.equal(db.barrier(), undefined, 'reading makes nothing new');
  assert.deepEqual(bed.meter.snapshot(), before);
  await db.close();
});

test('a barrier alone is one PUT, whatever was written', async () => {
  const bed = await createTestBed();
  const db = await bed.open(DATABASE_DEFAULTS);
  for (let i = 0; i < 20; i++) {
    const before = bed.meter.snapshot();
    for (let k = 0; k < i; k++) await db.write(INODE, (i * 37 + k * 11) * 4096, noise(k, 9000));
    await db.putMeta(`name ${i}`, noise(i, 100));
    await db.barrier();
    const after = bed.meter.snapshot();
    assert.equal(after.total.put.requests - before.total.put.requests, 1);
    assert.equal(after.total.get.requests - before.total.get.requests, 0);
  }
  await db.close();
});

test('random 8 KiB writes upload at most 1.15 bytes for each byte, all causes', async () => {
  const bed = await createTestBed();
  const before = bed.meter.snapshot();
  const db = await bed.open(DATABASE_DEFAULTS);
  const written = 256 * MIB;
  await writeRandomly(db, { bytes: written, deviceBytes: 1024 * MIB, writesPerBarrier: 64 });
  await db.settled();
  await db.close();
  const after = bed.meter.snapshot();
  const ratio = (after.bytesUp - before.bytesUp) / written;
  const up = (cause: 'barrier' | 'flush' | 'compaction'): string =>
    `${cause} ${((after.byCause[cause].put.bytes / written) * 100).toFixed(2)} %`;
  const parts = [up('barrier'), up('flush'), up('compaction')].join(', ');
  process.stdout.write(`uploaded ${ratio.toFixed(4)} bytes for each byte (${parts})\n`);
  assert.ok(ratio >= 1, 'the data is incompressible: less would mean that some was not uploaded');
  assert.ok(ratio <= 1.15, `${ratio} bytes were uploaded for each byte written`);
  const puts = after.byCause.barrier.put.requests;
  assert.equal(puts, written / (64 * 8 * KIB), 'one PUT for each barrier');
});

interface RandomWrites {
  readonly bytes: number;
  readonly deviceBytes: number;
  readonly writesPerBarrier: number;
}

/** 8 KiB each, incompressible. */
async function writeRandomly(db: Database, load: RandomWrites): Promise<void> {
  const rng = createSeededRng(1);
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeroes = Buffer.alloc(8 * KIB);
  const places = load.deviceBytes / zeroes.length;
  for (let i = 1; i <= load.bytes / zeroes.length; i++) {
    const offset = Math.floor(rng.float() * places) * zeroes.length;
    await db.write(INODE, offset, stream.update(zeroes));
    if (i % load.writesPerBarrier === 0) await db.barrier();
  }
}

test('a cold 4 KiB read is one GET', async () => {
  const bed = await createTestBed();
  const db = await bed.open(DATABASE_DEFAULTS);
  await writeRandomly(db, { bytes: 32 * MIB, deviceBytes: 64 * MIB, writesPerBarrier: 512 });
  await db.close();
  const rng = createSeededRng(5);
  for (let i = 0; i < 8; i++) await readCold(bed, Math.floor(rng.float() * 16_384) * 4096);
});

async function readCold(bed: TestBed, from: number): Promise<void> {
  const db = await bed.open(DATABASE_DEFAULTS);
  const offset = await firstDataFrom(db, from);
  const fresh = await bed.open(DATABASE_DEFAULTS);
  const before = bed.meter.snapshot();
  await fresh.read(INODE, offset, new Uint8Array(4096));
  const after = bed.meter.snapshot();
  assert.equal(requestsOf(after) - requestsOf(before), 1, `the read at ${offset}`);
  assert.equal(after.byCause.read.get.requests - before.byCause.read.get.requests, 1);
  const bytes = after.bytesDown - before.bytesDown;
  assert.ok(bytes <= 65 * KIB, `of one frame, not ${bytes} bytes`);
  await fresh.close();
}

async function firstDataFrom(db: Database, from: number): Promise<number> {
  let offset = from;
  for (const extent of await db.extents(INODE, from, 64 * MIB - from, 1000)) {
    if (!extent.hole) return offset;
    offset += extent.lengthBytes;
  }
  throw new Error('there is no data');
}

function requestsOf({ total }: MeterSnapshot): number {
  return Object.values(total).reduce((sum, { requests }) => sum + requests, 0);
}

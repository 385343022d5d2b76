// A connection on a wire in memory: what is held while a limit is reached, and batches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeClientFlags,
  encodeOption,
  encodeRequest,
  infoData,
} from '../../../test/nbd/client-codec.ts';
import { createMemoryVolume, memoryDirectory } from '../../../test/support/memory-device.ts';
import type { MemoryVolume } from '../../../test/support/memory-device.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { COMMAND, OPTION } from '../../proto/nbd/constants.ts';
import { BufferPool } from './buffer-pool.ts';
import { ByteBudget } from './byte-budget.ts';
import { Connection } from './connection.ts';
import { createCounters } from './counters.ts';
import { IN_FLIGHT_REQUESTS_MAX, SHARED_BYTES_MAX } from './limits.ts';

const MIB = 1024 * 1024;

interface World {
  readonly connection: Connection;
  readonly volume: MemoryVolume;
  /** Chunks of every send. */
  readonly batches: number[];
  paused: boolean;
}

/** A connection in the transmission phase; its wire takes everything in the next tick. */
function createWorld(): World {
  const volume = createMemoryVolume('disk', 16 * MIB);
  const batches: number[] = [];
  const nothing = (): void => {};
  const wire = {
    send(chunks: readonly Uint8Array[], sent: () => void): void {
      batches.push(chunks.length);
      process.nextTick(sent);
    },
    pause: () => (world.paused = true),
    resume: () => (world.paused = false),
    end: nothing,
    destroy: nothing,
  };
  const connection = new Connection(
    {
      directory: memoryDirectory([volume]),
      pool: new BufferPool(MIB),
      budget: new ByteBudget(SHARED_BYTES_MAX, systemClock),
      counters: createCounters(),
      clock: { ...systemClock, after: () => nothing },
      log: silentLog,
    },
    { handshakeMs: 1000 },
    wire,
  );
  const world: World = { connection, volume, batches, paused: false };
  connection.receive(
    Buffer.concat([encodeClientFlags(3), encodeOption(OPTION.go, infoData('disk'))]),
  );
  batches.length = 0;
  return world;
}

/** Trims of single blocks `[from, to)`: the device sees which, and in which order. */
function trims(from: number, to: number): Buffer {
  const requests: Buffer[] = [];
  for (let i = from; i < to; i++) {
    requests.push(encodeRequest({ type: COMMAND.trim, offset: i * 4096, length: 4096 }));
  }
  return Buffer.concat(requests);
}

test('held input goes on in the order in which it came, however often it is blocked', async () => {
  const { connection, volume } = createWorld();
  const seen: number[] = [];
  const pending: (() => void)[] = [];
  volume.gate = (_call, offset) => {
    seen.push(offset / 4096);
    const { promise, resolve } = Promise.withResolvers<void>();
    pending.push(resolve);
    return promise;
  };
  const count = IN_FLIGHT_REQUESTS_MAX * 4;
  // Three chunks, cut within requests, all of which come although the wire was paused at the first.
  const all = trims(0, count);
  connection.receive(all.subarray(0, 15_001));
  connection.receive(all.subarray(15_001, 20_002));
  connection.receive(all.subarray(20_002));
  assert.equal(seen.length, IN_FLIGHT_REQUESTS_MAX);
  while (pending.length > 0) {
    for (const resolve of pending.splice(0, 7)) resolve();
    await systemClock.yieldTurn();
  }
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, i) => i),
  );
});

test('the wire is paused while input is held, and resumed when none is', async () => {
  const world = createWorld();
  const gate = Promise.withResolvers<void>();
  world.volume.gate = () => gate.promise;
  world.connection.receive(trims(0, IN_FLIGHT_REQUESTS_MAX));
  assert.equal(world.paused, false, 'nothing had to be held');
  world.connection.receive(trims(0, 1));
  assert.equal(world.paused, true);
  gate.resolve();
  await systemClock.yieldTurn();
  assert.equal(world.paused, false);
});

test('replies of one chunk, or of one tick, leave as one batch', async () => {
  const { connection, volume, batches } = createWorld();
  connection.receive(trims(0, 32));
  assert.deepEqual(batches, [1]);
  const gate = Promise.withResolvers<void>();
  volume.gate = () => gate.promise;
  connection.receive(trims(0, 32));
  assert.deepEqual(batches, [1], 'no reply yet');
  gate.resolve();
  await systemClock.yieldTurn();
  assert.deepEqual(batches, [1, 1]);
});

// What connections hold when clients are many, slow or silent: payloads that come slowly, requests
// that the device takes its time for, replies that nobody reads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND, OPTION } from '../../src/proto/nbd/constants.ts';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { createManualClock } from '../../src/objectstore/manual-clock.ts';
import { BufferPool } from '../../src/server/nbd/buffer-pool.ts';
import { ByteBudget } from '../../src/server/nbd/byte-budget.ts';
import { Connection } from '../../src/server/nbd/connection.ts';
import { createCounters } from '../../src/server/nbd/counters.ts';
import {
  CONNECTION_BYTES_MAX,
  CONNECTION_OWN_BYTES,
  SHARED_BYTES_MAX,
  STALLED_MS,
  UNSENT_BYTES_MAX,
} from '../../src/server/nbd/limits.ts';
import type { Wire } from '../../src/server/nbd/wire.ts';
import { createMemoryVolume, memoryDirectory } from '../support/memory-device.ts';
import { encodeClientFlags, encodeOption, encodeRequest, infoData } from './client-codec.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface Peer {
  readonly connection: Connection;
  readonly sentBytes: () => number;
  readonly paused: () => boolean;
  readonly dropped: () => boolean;
  /** The kernel has taken what was sent, or takes nothing. */
  taking: boolean;
}

const createBudget = (bytesMax = SHARED_BYTES_MAX): ByteBudget =>
  new ByteBudget(bytesMax, systemClock);

/** A client in transmission, on a wire in memory. */
function attach(volume: ReturnType<typeof createMemoryVolume>, budget = createBudget()): Peer {
  let paused = false;
  let dropped = false;
  let sentBytes = 0;
  const untaken: (() => void)[] = [];
  const peer = { taking: true };
  const wire: Wire = {
    send(chunks, sent) {
      for (const chunk of chunks) sentBytes += chunk.length;
      if (peer.taking) process.nextTick(sent);
      else untaken.push(sent);
    },
    pause: () => void (paused = true),
    resume: () => void (paused = false),
    end: () => {},
    // As a socket does, later: buffers come home, and it is closed.
    destroy: () =>
      setImmediate(() => {
        for (const sent of untaken) sent();
        connection.closed();
      }),
  };
  const deps = {
    directory: memoryDirectory([volume]),
    pool: new BufferPool(8 * MIB),
    counters: createCounters(),
    clock: { ...systemClock, after: () => () => {} },
    log: { ...silentLog, warn: () => void (dropped = true) },
    budget,
  };
  const connection = new Connection(deps, { handshakeMs: 1 }, wire);
  const go = encodeOption(OPTION.go, infoData('disk'));
  connection.receive(Buffer.concat([encodeClientFlags(3), go]));
  return Object.assign(peer, {
    connection,
    sentBytes: () => sentBytes,
    paused: () => paused,
    dropped: () => dropped,
  });
}

function writeRequest(length: number): Buffer {
  return Buffer.concat([encodeRequest({ type: COMMAND.write, length }), Buffer.alloc(length)]);
}

test('past its own share a connection takes of what all have, and waits for that', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = (call) => (call === 'write' ? gate.promise : undefined);
  const budget = createBudget(2 * MIB);
  const peers = [attach(volume, budget), attach(volume, budget), attach(volume, budget)];
  await turn();
  for (let round = 0; round < 4; round++) {
    for (const { connection } of peers) connection.receive(writeRequest(MIB));
  }
  assert.equal(volume.calls.write, 5, 'one each, and two more of what all have');
  assert.equal(budget.bytes, 2 * MIB);
  assert.ok(peers.every((peer) => peer.paused()));
  gate.resolve();
  for (let i = 0; i < 40 && volume.calls.write < 12; i++) await turn();
  assert.equal(volume.calls.write, 12);
  await turn();
  assert.equal(budget.bytes, 0);
  assert.ok(peers.every((peer) => !peer.paused()));
});

test('while others hold all of the rest, a connection goes on within its own share', () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = () => gate.promise;
  const budget = createBudget(MIB);
  attach(volume, budget).connection.receive(writeRequest(2 * MIB));
  assert.ok(budget.full);
  volume.gate = undefined;
  const { connection } = attach(volume, budget);
  for (let i = 0; i < 20; i++) connection.receive(writeRequest(256 * KIB));
  connection.receive(encodeRequest({ type: COMMAND.read, length: MIB / 2 }));
  assert.equal(volume.calls.write, 21);
  assert.equal(volume.calls.read, 1);
});

test('a request that waited for room is carried out, wherever its bytes were cut', async () => {
  for (const cut of [1, 27, 28, 29, 5000]) {
    const volume = createMemoryVolume('disk', 8 * MIB);
    const gate = Promise.withResolvers<void>();
    volume.gate = () => gate.promise;
    const { connection } = attach(volume, createBudget(MIB));
    connection.receive(writeRequest(2 * MIB));
    const data = Buffer.alloc(2 * MIB, cut % 255);
    const header = encodeRequest({ type: COMMAND.write, offset: 4 * MIB, length: data.length });
    const request = Buffer.concat([header, data]);
    connection.receive(request.subarray(0, cut));
    connection.receive(request.subarray(cut));
    assert.equal(volume.calls.write, 1);
    gate.resolve();
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(volume.calls.write, 2);
    const found = Buffer.alloc(data.length);
    await memoryDirectory([volume])
      .open('disk')
      .read(4 * MIB, found);
    assert.ok(found.equals(data), `cut at ${cut}`);
  }
});

test('a server that stops refuses what waits for room', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = () => gate.promise;
  const budget = createBudget(MIB);
  const peers = [attach(volume, budget), attach(volume, budget)];
  await turn();
  for (const { connection } of peers) connection.receive(writeRequest(2 * MIB));
  const before = peers[1]!.sentBytes();
  for (const { connection } of peers) connection.stop();
  assert.equal(peers[1]!.sentBytes() - before, 16, 'the whole payload is here: one reply');
  assert.equal(volume.calls.write, 1);
  gate.resolve();
});

test('a connection that ends while it waits leaves the others their turn', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = (call) => (call === 'write' ? gate.promise : undefined);
  const budget = createBudget(MIB);
  const [first, second, third] = [1, 2, 3].map(() => attach(volume, budget));
  for (const peer of [first, second, third]) peer!.connection.receive(writeRequest(2 * MIB));
  assert.equal(volume.calls.write, 1);
  second!.connection.closed();
  first!.connection.closed();
  gate.resolve();
  for (let i = 0; i < 40 && volume.calls.write < 2; i++) await turn();
  assert.equal(volume.calls.write, 2);
  await Promise.all([first!.connection.done, second!.connection.done]);
  await turn();
  assert.equal(budget.bytes, 0);
});

test('a client that reads no replies holds the limit and one reply, and is not read', () => {
  const volume = createMemoryVolume('disk', 64 * MIB);
  const peer = attach(volume);
  peer.taking = false;
  const before = peer.sentBytes();
  const length = 256 * KIB;
  const requests = Array.from({ length: 64 }, () => encodeRequest({ type: COMMAND.read, length }));
  peer.connection.receive(Buffer.concat(requests));
  assert.ok(peer.sentBytes() - before <= UNSENT_BYTES_MAX + length + 1024);
  assert.ok(volume.calls.read <= 5);
  assert.ok(peer.paused());
});

test('replies that a client does not take are of what it may hold', async () => {
  const volume = createMemoryVolume('disk', MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = () => gate.promise;
  const budget = createBudget();
  const peer = attach(volume, budget);
  await turn();
  peer.taking = false;
  const before = peer.sentBytes();
  const requests = Array.from({ length: 100 }, () => {
    return encodeRequest({ type: COMMAND.read, length: MIB });
  });
  peer.connection.receive(Buffer.concat(requests));
  gate.resolve();
  for (let i = 0; i < 40; i++) await turn();
  assert.equal(volume.calls.read, CONNECTION_BYTES_MAX / MIB);
  const sent = peer.sentBytes() - before;
  assert.ok(sent > CONNECTION_BYTES_MAX && sent < CONNECTION_BYTES_MAX + 64 * KIB, `${sent}`);
  assert.equal(budget.bytes, sent - CONNECTION_OWN_BYTES);
});

test('many that take no replies hold no more than what all have, and their own', async () => {
  const volume = createMemoryVolume('disk', MIB);
  volume.gate = () => Promise.resolve();
  const budget = createBudget(16 * MIB);
  const peers = Array.from({ length: 20 }, () => attach(volume, budget));
  const requests = Array.from({ length: 40 }, () => {
    return encodeRequest({ type: COMMAND.read, length: MIB });
  });
  for (const peer of peers) {
    peer.taking = false;
    peer.connection.receive(Buffer.concat(requests));
  }
  for (let i = 0; i < 40; i++) await turn();
  const sent = peers.reduce((sum, peer) => sum + peer.sentBytes(), 0);
  assert.ok(budget.full);
  assert.ok(sent > 16 * MIB && sent <= (16 + 20 + 1) * MIB, `${sent}`);
});

test('a payload that is on its way is counted whole', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const budget = createBudget(2 * MIB);
  const slow = attach(volume, budget);
  await turn();
  slow.connection.receive(writeRequest(4 * MIB).subarray(0, 1000));
  assert.equal(budget.bytes, 3 * MIB);
  const other = attach(volume, budget);
  await turn();
  other.connection.receive(writeRequest(2 * MIB).subarray(0, 60_000));
  assert.ok(other.paused(), 'there is no room for its payload');
  slow.connection.closed();
  await turn();
  assert.equal(budget.bytes, MIB, 'the other has begun');
  other.connection.receive(writeRequest(2 * MIB).subarray(60_000));
  assert.equal(volume.calls.write, 1);
  assert.equal(budget.bytes, 0);
});

test('who lets lie what others wait for is dropped, and nobody else', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const clock = createManualClock();
  const budget = new ByteBudget(5 * MIB, clock);
  const payload = writeRequest(2 * MIB);
  const [silent, slow, unread, busy] = [1, 2, 3, 4].map(() => attach(volume, budget)) as [
    Peer,
    Peer,
    Peer,
    Peer,
  ];
  await turn();
  silent.connection.receive(payload.subarray(0, 100));
  slow.connection.receive(payload.subarray(0, 100));
  unread.taking = false;
  unread.connection.receive(encodeRequest({ type: COMMAND.read, length: 2 * MIB }));
  const gate = Promise.withResolvers<void>();
  volume.gate = () => gate.promise;
  busy.connection.receive(writeRequest(3 * MIB));
  assert.ok(budget.full);
  clock.advance(10 * STALLED_MS);
  const all = [silent, slow, unread, busy];
  const dropped = (): boolean[] => all.map((peer) => peer.dropped());
  assert.deepEqual(dropped(), [false, false, false, false], 'nobody waits');

  const waiting = attach(volume, budget);
  waiting.connection.receive(writeRequest(2 * MIB));
  assert.equal(volume.calls.write, 1);
  clock.advance(STALLED_MS);
  assert.deepEqual(dropped(), [false, false, false, false], 'they had no time yet');
  slow.connection.receive(payload.subarray(100, 101));
  clock.advance(STALLED_MS);
  assert.deepEqual(dropped(), [true, false, true, false], 'the device is slow, not the client');
  await turn();
  await turn();
  assert.equal(volume.calls.write, 2, 'there is room again');
  gate.resolve();
  slow.connection.receive(payload.subarray(101));
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(volume.calls.write, 3);
  assert.equal(budget.bytes, 0);
});

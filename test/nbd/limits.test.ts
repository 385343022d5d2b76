// What holds when clients are many, slow or silent: payload in flight over all connections, replies
// that nobody reads, options and names that are too long, handshakes that never end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND, OPTION, OPTION_REPLY } from '../../src/proto/nbd/constants.ts';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { BufferPool } from '../../src/server/nbd/buffer-pool.ts';
import { ByteBudget } from '../../src/server/nbd/byte-budget.ts';
import { Connection } from '../../src/server/nbd/connection.ts';
import { createCounters } from '../../src/server/nbd/counters.ts';
import { UNSENT_BYTES_MAX } from '../../src/server/nbd/limits.ts';
import type { Wire } from '../../src/server/nbd/wire.ts';
import { createMemoryVolume, memoryDirectory } from '../support/memory-device.ts';
import { encodeClientFlags, encodeOption, encodeRequest, infoData } from './client-codec.ts';
import { serveVolumes } from './harness.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface Peer {
  readonly connection: Connection;
  readonly sentBytes: () => number;
  readonly paused: () => boolean;
  /** The kernel has taken what was sent, or takes nothing. */
  taking: boolean;
}

/** A client in transmission, on a wire in memory. */
function attach(volume: ReturnType<typeof createMemoryVolume>, budget?: ByteBudget): Peer {
  let paused = false;
  let sentBytes = 0;
  const peer = { taking: true };
  const wire: Wire = {
    send(chunks, sent) {
      for (const chunk of chunks) sentBytes += chunk.length;
      if (peer.taking) process.nextTick(sent);
    },
    pause: () => void (paused = true),
    resume: () => void (paused = false),
    end: () => {},
    destroy: () => {},
  };
  const deps = {
    directory: memoryDirectory([volume]),
    pool: new BufferPool(8 * MIB),
    counters: createCounters(),
    clock: { ...systemClock, after: () => () => {} },
    log: silentLog,
    budget,
  };
  const connection = new Connection(deps, { handshakeMs: 1 }, wire);
  const go = encodeOption(OPTION.go, infoData('disk'));
  connection.receive(Buffer.concat([encodeClientFlags(3), go]));
  return Object.assign(peer, {
    connection,
    sentBytes: () => sentBytes,
    paused: () => paused,
  });
}

function writeRequest(length: number): Buffer {
  return Buffer.concat([encodeRequest({ type: COMMAND.write, length }), Buffer.alloc(length)]);
}

test('past the limit of all connections together none is read, and then all go on', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = (call) => (call === 'write' ? gate.promise : undefined);
  const budget = new ByteBudget(3 * MIB);
  const peers = [attach(volume, budget), attach(volume, budget), attach(volume, budget)];
  for (let round = 0; round < 4; round++) {
    for (const { connection } of peers) connection.receive(writeRequest(MIB));
  }
  assert.equal(volume.calls.write, 3, 'each one alone may have 64 MiB');
  assert.equal(budget.bytes, 3 * MIB);
  assert.ok(peers.every((peer) => peer.paused()));
  gate.resolve();
  for (let i = 0; i < 40 && volume.calls.write < 12; i++) await turn();
  assert.equal(volume.calls.write, 12);
  await turn();
  assert.equal(budget.bytes, 0);
  assert.ok(peers.every((peer) => !peer.paused()));
});

test('a connection that ends while it waits leaves the others their turn', async () => {
  const volume = createMemoryVolume('disk', 8 * MIB);
  const gate = Promise.withResolvers<void>();
  volume.gate = (call) => (call === 'write' ? gate.promise : undefined);
  const budget = new ByteBudget(MIB);
  const [first, second, third] = [1, 2, 3].map(() => attach(volume, budget));
  for (const peer of [first, second, third]) peer!.connection.receive(writeRequest(MIB));
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

test('names of more than 4096 bytes are refused', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  const long = infoData('x'.repeat(4097));
  const [reply] = await client.option(OPTION.go, long);
  assert.equal(reply!.type, OPTION_REPLY.errInvalid);
  const [fits] = await client.option(OPTION.go, infoData('x'.repeat(4096)));
  assert.equal(fits!.type, OPTION_REPLY.errUnknown);
  client.send(encodeOption(OPTION.exportName, Buffer.alloc(4097, 0x78)));
  await client.closed;
});

test('a client that says nothing is dropped, and makes room for another', async (t) => {
  const { connect, server } = await serveVolumes(t, undefined, {
    connectionsMax: 1,
    handshakeMs: 100,
  });
  const silent = await connect();
  await silent.take(18);
  const refused = await connect();
  await refused.closed;
  assert.equal(refused.pending, 0);
  await silent.closed;
  while (server.connectionCount() > 0) await turn();
  const next = await connect();
  await next.negotiate();
  assert.equal(await next.status({ type: COMMAND.flush }), 0);
});

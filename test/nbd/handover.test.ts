// Connections that one server releases and the next goes on with: nothing is lost, nothing is done
// twice, wherever in the stream of requests that happens.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { COMMAND, COMMAND_FLAG } from '../../src/proto/nbd/constants.ts';
import { holdSocket } from '../../src/server/nbd/inheritance.ts';
import type { ReleasedConnection } from '../../src/server/nbd/inheritance.ts';
import type { Release } from '../../src/server/nbd/release.ts';
import { NBD_SERVER_DEFAULTS, startNbdServer } from '../../src/server/nbd/server.ts';
import type { NbdServer } from '../../src/server/nbd/server.ts';
import {
  createMemoryVolume,
  memoryDirectory,
  type MemoryVolume,
} from '../support/memory-device.ts';
import { until } from '../support/command.ts';
import { encodeRequest } from './client-codec.ts';
import { serveVolumes } from './harness.ts';
import type { Mode } from './raw-client.ts';

const MIB = 1024 * 1024;
const BLOCK = 4096;

/** Sends back what it gets: sockets really go from process to process, and become new ones. */
let mirror: ChildProcess;
before(() => {
  const handler =
    '(message, socket) => { socket._handle.readStop(); process.send(message, socket); }';
  const code = `process.setMaxListeners(0); process.on('message', ${handler})`;
  mirror = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  // Node keeps one for each server whose sockets it was sent.
  mirror.setMaxListeners(0);
});
after(() => mirror.disconnect());

async function passed({ socket, state }: ReleasedConnection): Promise<ReleasedConnection> {
  const back = once(mirror, 'message');
  mirror.send('socket', socket);
  const [, received] = (await back) as [string, Socket];
  return { socket: holdSocket(received), state };
}

/** A server that has inherited what another one released. */
async function takeOver(
  t: TestContext,
  release: Release,
  volumes: readonly MemoryVolume[],
): Promise<NbdServer> {
  const connections: ReleasedConnection[] = [];
  for (const one of release.connections) connections.push(await passed(one));
  const server = await startNbdServer(
    { directory: memoryDirectory(volumes), clock: systemClock, log: silentLog },
    { ...NBD_SERVER_DEFAULTS, addresses: [], inheritance: { listeners: [], connections } },
  );
  t.after(() => server.stop());
  return server;
}

for (const mode of ['simple', 'structured', 'extended'] as const) {
  test(`${mode}: wherever a stream of writes is cut, each is done and answered once`, async (t) => {
    const gaps = fc.record({
      blocks: fc.integer({ min: 1, max: 40 }),
      writes: fc.integer({ min: 1, max: 12 }),
      /**
       * The server is replaced so far into the stream: so many writes and bytes, often a header's.
       */
      cut: fc.tuple(
        fc.nat({ max: 11 }),
        fc.oneof(fc.nat({ max: 36 }), fc.nat({ max: 40 * BLOCK })),
      ),
    });
    await fc.assert(
      fc.asyncProperty(gaps, async ({ blocks, cut, writes }) => {
        await cutOnce(t, mode, { bytes: blocks * BLOCK, cut, writes });
      }),
      { numRuns: 25 },
    );
  });
}

async function cutOnce(
  t: TestContext,
  mode: Mode,
  { bytes, cut, writes }: { bytes: number; cut: readonly [number, number]; writes: number },
): Promise<void> {
  const volume = createMemoryVolume('disk', 4 * MIB);
  const { server, negotiated } = await serveVolumes(t, [volume]);
  const client = await negotiated({ mode });
  const extended = mode === 'extended';
  const flags = extended ? COMMAND_FLAG.payloadLength : 0;
  const stream = Buffer.concat(
    Array.from({ length: writes }, (_, i) => [
      encodeRequest(
        { type: COMMAND.write, flags, cookie: BigInt(i), offset: i * bytes, length: bytes },
        extended,
      ),
      Buffer.alloc(bytes, i + 1),
    ]).flat(),
  );
  const requestBytes = stream.length / writes;
  const at = Math.min((cut[0] % writes) * requestBytes + cut[1], stream.length);
  client.send(stream.subarray(0, at));
  const began = Math.floor(at / requestBytes);
  await until('what is whole is done', () => volume.calls.write >= began);
  // What is not whole is read in the next turns.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  const releasing = server.release();
  // Half a payload is read to its end by the old server: the rest must come.
  client.send(stream.subarray(at));
  const release = await releasing;
  assert.equal(release.closed, 0);
  assert.equal(volume.openHandles, 0, 'the handle went with the old server');
  const second = await takeOver(t, release, [volume]);
  assert.equal(second.connectionCount(), 1);
  const cookies = new Set<string>();
  for (let i = 0; i < writes; i++) {
    const reply = await client.reply();
    cookies.add(String(reply.cookie));
  }
  assert.equal(cookies.size, writes);
  assert.equal(volume.calls.write, writes, 'each was done once');
  assert.equal(client.pending, 0);
  const last = (writes - 1) * bytes;
  client.request({ type: COMMAND.read, cookie: 99n, offset: last, length: BLOCK });
  const data = await client.reply();
  assert.equal(data.cookie, 99n);
  client.destroy();
  await second.stop();
}

test('requests under way are answered by the old server before it lets go', async (t) => {
  const volume = createMemoryVolume('disk', MIB);
  const { server, negotiated } = await serveVolumes(t, [volume]);
  const client = await negotiated();
  const flush = Promise.withResolvers<void>();
  volume.gate = (call) => (call === 'flush' ? flush.promise : undefined);
  client.request({ type: COMMAND.flush, cookie: 7n });
  await until('the flush is under way', () => volume.calls.flush === 1);
  let released = false;
  const releasing = server.release().finally(() => (released = true));
  client.request({ type: COMMAND.write, cookie: 8n, offset: 0, length: 4 }, Buffer.from('late'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(released, false);
  flush.resolve();
  const release = await releasing;
  assert.equal((await client.reply()).cookie, 7n);
  assert.equal(volume.calls.write, 0, 'what came after is for the new server');
  await takeOver(t, release, [volume]);
  assert.equal((await client.reply()).cookie, 8n);
  assert.equal(volume.calls.write, 1);
});

test('an idle connection goes on; one in the handshake is hung up', async (t) => {
  const volume = createMemoryVolume('disk', MIB);
  const { server, negotiated, connect } = await serveVolumes(t, [volume]);
  const idle = await negotiated({ mode: 'structured', context: true, aligned: true });
  const young = await connect();
  await young.take(18);
  const release = await server.release();
  assert.equal(release.connections.length, 1);
  assert.equal(release.closed, 1);
  await young.closed;
  const { state } = release.connections[0]!;
  const { pending, ...rest } = state;
  assert.equal(pending.length, 0);
  assert.deepEqual(rest, {
    exportName: 'disk',
    sizeBytes: MIB,
    mode: 'structured',
    allocationContext: true,
    aligned: true,
  });
  await takeOver(t, release, [volume]);
  const status = { type: COMMAND.blockStatus, cookie: 1n, offset: 0, length: MIB };
  idle.request(status);
  assert.equal((await idle.reply()).cookie, 1n);
});

test('a client that hung up in between is seen as gone', async (t) => {
  const volume = createMemoryVolume('disk', MIB);
  const { server, negotiated } = await serveVolumes(t, [volume]);
  const client = await negotiated();
  const release = await server.release();
  client.socket.end();
  const second = await takeOver(t, release, [volume]);
  await client.closed;
  await until('the connection is over', () => second.connectionCount() === 0);
  assert.equal(volume.openHandles, 0);
});

test('a connection whose export is gone, or has shrunk, is closed', async (t) => {
  for (const left of [[], [createMemoryVolume('disk', MIB - BLOCK)]]) {
    const { server, negotiated } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
    const client = await negotiated();
    const second = await takeOver(t, await server.release(), left);
    await client.closed;
    assert.equal(second.connectionCount(), 0);
  }
});

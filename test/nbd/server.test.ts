// The server's life: sockets and their files, limits, back-pressure, and the graceful end.

import assert from 'node:assert/strict';
import { stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { isStorageError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { COMMAND, OPTION } from '../../src/proto/nbd/constants.ts';
import { IN_FLIGHT_REQUESTS_MAX } from '../../src/server/nbd/limits.ts';
import { NBD_SERVER_DEFAULTS, startNbdServer } from '../../src/server/nbd/server.ts';
import type { NbdAddress } from '../../src/server/nbd/address.ts';
import type { NbdServer } from '../../src/server/nbd/server.ts';
import { createMemoryVolume, dataBlockCount, memoryDirectory } from '../support/memory-device.ts';
import { encodeRequest, infoData } from './client-codec.ts';
import { serveVolumes } from './harness.ts';

const MIB = 1024 * 1024;

function start(addresses: readonly NbdAddress[]): Promise<NbdServer> {
  const directory = memoryDirectory([createMemoryVolume('disk', MIB)]);
  const deps = { directory, clock: systemClock, log: silentLog };
  return startNbdServer(deps, { ...NBD_SERVER_DEFAULTS, addresses });
}

test('the Unix socket belongs to its owner alone, and goes with the server', async (t) => {
  const { unix, server } = await serveVolumes(t);
  assert.equal((await stat(unix.path)).mode & 0o777, 0o600);
  await server.stop();
  await assert.rejects(stat(unix.path), { code: 'ENOENT' });
});

test('a stale socket file is replaced; a live one and other files are not', async (t) => {
  const { unix, directory } = await serveVolumes(t);
  const isTaken = (error: unknown): boolean => isStorageError(error, 'exists');
  await assert.rejects(start([unix]), isTaken);
  const stale = join(directory, 'stale.sock');
  // A process that ends without closing its listener leaves the file behind.
  const path = JSON.stringify(stale);
  const code = `net.createServer().listen(${path}, () => process.kill(process.pid, 9))`;
  spawnSync(process.execPath, ['-e', code]);
  assert.ok((await stat(stale)).isSocket());
  const server = await start([{ path: stale }]);
  await server.stop();
  const file = join(directory, 'file');
  await writeFile(file, 'precious');
  await assert.rejects(start([{ path: file }]), isTaken);
  const link = join(directory, 'link');
  await symlink(file, link);
  await assert.rejects(start([{ path: link }]), isTaken);
});

test('when one address is taken, none stays open', async (t) => {
  const { directory, tcp } = await serveVolumes(t);
  const path = join(directory, 'other.sock');
  await assert.rejects(start([{ path }, tcp]), /something else listens there/);
  await assert.rejects(stat(path), { code: 'ENOENT' });
  const probe = createServer().listen(path);
  await new Promise((resolve) => probe.once('listening', resolve));
  await new Promise((resolve) => probe.close(resolve));
});

test('connections past the limit are closed; a free place is given again', async (t) => {
  const { connect, server } = await serveVolumes(t, undefined, { connectionsMax: 2 });
  const [first, second] = [await connect(), await connect()];
  await Promise.all([first.greet(), second.greet()]);
  const third = await connect();
  await third.closed;
  first.socket.end();
  await first.closed;
  first.destroy();
  while (server.connectionCount() > 1) await systemClock.yieldTurn();
  const fourth = await connect();
  await fourth.negotiate();
});

test('a client that never finishes its handshake is dropped', async (t) => {
  const { connect } = await serveVolumes(t, undefined, { handshakeMs: 1 });
  const client = await connect();
  await client.closed;
});

test('no more requests run at one time than the limit, and all are answered', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  const client = await negotiated();
  const gate = Promise.withResolvers<void>();
  const full = Promise.withResolvers<void>();
  let started = 0;
  let most = 0;
  volume.gate = () => {
    started += 1;
    most = Math.max(most, started);
    if (started === IN_FLIGHT_REQUESTS_MAX) full.resolve();
    return gate.promise.then(() => {
      started -= 1;
    });
  };
  const count = IN_FLIGHT_REQUESTS_MAX * 3;
  const requests = Array.from({ length: count }, (_, i) =>
    encodeRequest({ type: COMMAND.trim, cookie: BigInt(i), length: 4096 }),
  );
  client.send(...requests);
  await full.promise;
  await systemClock.yieldTurn();
  assert.equal(most, IN_FLIGHT_REQUESTS_MAX);
  gate.resolve();
  const cookies = new Set<bigint>();
  for (let i = 0; i < count; i++) cookies.add((await client.reply()).cookie);
  assert.equal(cookies.size, count);
  assert.ok(most <= IN_FLIGHT_REQUESTS_MAX);
});

test('a client that reads nothing stops being read, and loses nothing', async (t) => {
  const { negotiated, server } = await serveVolumes(t);
  const client = await negotiated();
  await client.status({ type: COMMAND.write, length: MIB }, Buffer.alloc(MIB, 5));
  client.socket.pause();
  const count = 64;
  for (let i = 0; i < count; i++) client.request({ type: COMMAND.read, length: MIB });
  const seen = server.counters.reads;
  for (let i = 0; i < 200; i++) await systemClock.yieldTurn();
  assert.ok(server.counters.reads - seen < count / 2, 'most requests were left in the socket');
  client.socket.resume();
  for (let i = 0; i < count; i++) {
    await client.reply();
    assert.ok((await client.take(MIB)).equals(Buffer.alloc(MIB, 5)));
  }
});

test('stop: what is under way is answered, later requests get ESHUTDOWN', async (t) => {
  const { negotiated, connect, server, volume } = await serveVolumes(t);
  const client = await negotiated({ mode: 'structured' });
  const haggling = await connect();
  await haggling.greet();
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  volume.gate = () => {
    asked.resolve();
    return gate.promise;
  };
  client.request({ type: COMMAND.write, cookie: 1n, length: 4096 }, Buffer.alloc(4096, 8));
  await asked.promise;
  const stopped = server.stop();
  assert.equal(server.stop(), stopped, 'stopping twice is stopping once');
  client.request({ type: COMMAND.read, cookie: 2n, length: 4096 });
  const refused = await client.reply();
  assert.ok(refused.kind === 'chunk' && refused.payload.readUInt32BE(0) === 108);
  assert.equal(volume.openHandles, 1, 'a handle stays while a call is under way');
  gate.resolve();
  assert.equal((await client.reply()).cookie, 1n);
  await Promise.all([client.closed, haggling.closed]);
  client.destroy();
  haggling.destroy();
  await stopped;
  assert.equal(volume.openHandles, 0);
  assert.equal(server.connectionCount(), 0);
  assert.equal(dataBlockCount(volume), 1, 'the write under way was done');
});

test('a client that vanishes leaves no handle, once its request has settled', async (t) => {
  const { negotiated, server, volume } = await serveVolumes(t);
  const client = await negotiated();
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  volume.gate = () => {
    asked.resolve();
    return gate.promise;
  };
  client.request({ type: COMMAND.read, length: 4096 });
  client.send(encodeRequest({ type: COMMAND.write, length: MIB }), Buffer.alloc(1000));
  await asked.promise;
  client.destroy();
  for (let i = 0; i < 50; i++) await systemClock.yieldTurn();
  assert.equal(volume.openHandles, 1);
  gate.resolve();
  while (server.connectionCount() > 0) await systemClock.yieldTurn();
  assert.equal(volume.openHandles, 0);
});

test('a volume that grows is larger for the next connection, not for this one', async (t) => {
  const { negotiated, connect, volume } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
  const old = await negotiated();
  volume.sizeBytes = 2 * MIB;
  assert.equal(await old.status({ type: COMMAND.trim, offset: MIB, length: 4096 }), 22);
  const fresh = await connect();
  await fresh.greet();
  const [info] = await fresh.option(OPTION.go, infoData('disk'));
  assert.equal(info!.data.readBigUInt64BE(2), BigInt(2 * MIB));
});

// The transmission phase byte by byte: what commands do in every reply mode, and in which order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK, COMMAND, COMMAND_FLAG } from '../../src/proto/nbd/constants.ts';
import { StorageError } from '../../src/base/errors.ts';
import { createMemoryVolume, dataBlockCount } from '../support/memory-device.ts';
import { statusPayload } from './client-codec.ts';
import { serveVolumes } from './harness.ts';
import { writeFlags } from './raw-client.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const [EIO, EINVAL, EOVERFLOW] = [5, 22, 75];

test('without negotiated sizes every byte range may be read and written', async (t) => {
  const { negotiated } = await serveVolumes(t);
  const client = await negotiated({ mode: 'simple' });
  const write = { type: COMMAND.write, offset: 4090, length: 13 };
  assert.equal(await client.status(write, Buffer.from('hello, blocks')), 0);
  client.request({ type: COMMAND.read, offset: 4088, length: 17 });
  await client.reply();
  assert.equal((await client.take(17)).toString('latin1'), '\0\0hello, blocks\0\0');
});

test('replies come in the order in which the device answers', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  const client = await negotiated({ mode: 'structured' });
  const gates = new Map<number, PromiseWithResolvers<void>>();
  volume.gate = (call, offset) => {
    const gate = Promise.withResolvers<void>();
    if (call === 'read') gates.set(offset, gate);
    return call === 'read' ? gate.promise : undefined;
  };
  for (let i = 0; i < 4; i++) {
    client.request({ type: COMMAND.read, cookie: BigInt(i), offset: i * 4096, length: 4096 });
  }
  assert.equal(await client.status({ type: COMMAND.flush }), 0, 'a later flush overtakes them');
  for (const i of [2, 0, 3, 1]) {
    gates.get(i * 4096)!.resolve();
    assert.equal((await client.reply()).cookie, BigInt(i));
  }
});

test('large and small reads that wait keep their own data', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  const client = await negotiated({ mode: 'simple' });
  const write = { type: COMMAND.write, length: 256 * KIB };
  const data = Buffer.alloc(256 * KIB, Buffer.from('0123456789abcdef-'));
  assert.equal(await client.status(write, data), 0);
  volume.gate = () => Promise.resolve();
  const asked = [4096, 200 * KIB, 512, 64 * KIB, 100 * KIB, 1];
  asked.forEach((length, i) => client.request({ type: COMMAND.read, cookie: BigInt(i), length }));
  for (const _ of asked) {
    const { cookie } = await client.reply();
    const length = asked[Number(cookie)]!;
    assert.ok((await client.take(length)).equals(data.subarray(0, length)), `${length} bytes`);
  }
});

test('structured reads: holes are chunks, data are data, DF is one chunk', async (t) => {
  const { negotiated } = await serveVolumes(t);
  const client = await negotiated({ mode: 'structured' });
  const write = { type: COMMAND.write, offset: MIB, length: 128 * KIB };
  await client.status(write, Buffer.alloc(128 * KIB, 9));
  client.request({ type: COMMAND.read, offset: 512 * KIB, length: 2 * MIB });
  const seen: [number, number, number, boolean][] = [];
  for (let done = false; !done;) {
    const chunk = await client.reply();
    assert.ok(chunk.kind === 'chunk');
    const hole = chunk.type === CHUNK.offsetHole;
    const bytes = hole ? chunk.payload.readUInt32BE(8) : chunk.payload.length - 8;
    seen.push([chunk.type, Number(chunk.payload.readBigUInt64BE(0)), bytes, chunk.done]);
    done = chunk.done;
  }
  assert.deepEqual(seen, [
    [CHUNK.offsetHole, 512 * KIB, 512 * KIB, false],
    [CHUNK.offsetData, MIB, 128 * KIB, false],
    [CHUNK.offsetHole, MIB + 128 * KIB, 2 * MIB - 640 * KIB, true],
  ]);
  const flags = COMMAND_FLAG.dontFragment;
  client.request({ type: COMMAND.read, flags, offset: 512 * KIB, length: 2 * MIB });
  const whole = await client.reply();
  assert.ok(whole.kind === 'chunk' && whole.done && whole.type === CHUNK.offsetData);
  assert.equal(whole.payload.length, 8 + 2 * MIB);
  client.request({ type: COMMAND.read, offset: 0, length: 4096 });
  const small = await client.reply();
  assert.ok(small.kind === 'chunk' && small.done && small.type === CHUNK.offsetHole);
});

test('FUA flushes after the change, slow or not, and before the reply', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  const client = await negotiated();
  const order: string[] = [];
  for (const late of [false, true]) {
    volume.gate = (call) => {
      order.push(call);
      return late ? Promise.resolve() : undefined;
    };
    const flags = COMMAND_FLAG.fua;
    await client.status({ type: COMMAND.write, flags, length: 512 }, Buffer.alloc(512, 1));
    await client.status({ type: COMMAND.trim, flags, length: 4096 });
    await client.status({ type: COMMAND.writeZeroes, flags, length: 4096 });
    await client.status({ type: COMMAND.writeZeroes, length: 4096 });
  }
  const once = ['write', 'flush', 'trim', 'flush', 'writeZeroes', 'flush', 'writeZeroes'];
  assert.deepEqual(order, [...once, ...once]);
  volume.gate = (call) =>
    call === 'flush' ? Promise.reject(new StorageError('unavailable', 'planted')) : undefined;
  const fua = { type: COMMAND.trim, flags: COMMAND_FLAG.fua, length: 4096 };
  assert.equal(await client.status(fua), EIO, 'a change that is not durable is not acknowledged');
});

for (const mode of ['structured', 'extended'] as const) {
  test(`${mode}: block status, all extents and one`, async (t) => {
    const { negotiated } = await serveVolumes(t);
    const client = await negotiated({ mode, context: true });
    const write = { type: COMMAND.write, flags: writeFlags(mode), offset: 8192, length: 4096 };
    await client.status(write, Buffer.alloc(4096, 1));
    const ask = async (flags: number, payload?: Buffer): Promise<number[][]> => {
      const length = payload?.length ?? 64 * KIB;
      const type = COMMAND.blockStatus;
      client.request({ type, flags, cookie: 9n, offset: 4096, length }, payload);
      const reply = await client.reply();
      assert.ok(reply.kind === 'chunk' && reply.done && reply.cookie === 9n);
      assert.equal(reply.payload.readUInt32BE(0), 1, 'the context id');
      if (mode === 'structured') {
        assert.equal(reply.type, CHUNK.blockStatus);
        const count = (reply.payload.length - 4) / 8;
        const at = (i: number): number => reply.payload.readUInt32BE(4 + i * 4);
        return Array.from({ length: count }, (_, i) => [at(i * 2), at(i * 2 + 1)]);
      }
      assert.equal(reply.type, CHUNK.blockStatusExtended);
      assert.equal(reply.offset, 4096n);
      const count = reply.payload.readUInt32BE(4);
      assert.equal(reply.payload.length, 8 + count * 16);
      const at = (i: number): number => Number(reply.payload.readBigUInt64BE(8 + i * 8));
      return Array.from({ length: count }, (_, i) => [at(i * 2), at(i * 2 + 1)]);
    };
    const all = [
      [4096, 3],
      [4096, 0],
      [64 * KIB - 8192, 3],
    ];
    assert.deepEqual(await ask(0), all);
    assert.deepEqual(await ask(COMMAND_FLAG.reqOne), all.slice(0, 1));
    if (mode === 'structured') return;
    const flag = COMMAND_FLAG.payloadLength;
    assert.deepEqual(await ask(flag, statusPayload(64 * KIB, [1])), all);
    for (const bad of [[1, 1], [2], []]) {
      const payload = statusPayload(4096, bad);
      const request = { type: COMMAND.blockStatus, flags: flag, length: payload.length };
      assert.equal(await client.status(request, payload), EINVAL);
    }
    const empty = { type: COMMAND.blockStatus, flags: flag, length: 0 };
    assert.equal(await client.status(empty), EINVAL);
    const odd = { type: COMMAND.blockStatus, flags: flag, length: 1001 };
    assert.equal(await client.status(odd, Buffer.alloc(1001)), EINVAL);
    const past = statusPayload(65 * MIB, [1]);
    const request = { type: COMMAND.blockStatus, flags: flag, length: past.length };
    assert.equal(await client.status(request, past), EINVAL);
  });
}

test('extended: ranges past 4 GiB, echoed offsets, and payloads where none belong', async (t) => {
  const size = 2 ** 40;
  const { negotiated, volume } = await serveVolumes(t, [createMemoryVolume('disk', size)]);
  const client = await negotiated({ mode: 'extended' });
  const flags = COMMAND_FLAG.payloadLength;
  const high = 2 ** 39;
  const write = { type: COMMAND.write, flags, offset: high, length: 4096 };
  assert.equal(await client.status(write, Buffer.alloc(4096, 3)), 0);
  assert.equal(dataBlockCount(volume), 1);
  client.request({ type: COMMAND.read, cookie: 2n ** 64n - 1n, offset: high, length: 4096 });
  const reply = await client.reply();
  assert.ok(reply.kind === 'chunk');
  assert.deepEqual([reply.offset, reply.cookie], [BigInt(high), 2n ** 64n - 1n]);
  assert.equal(await client.status({ type: COMMAND.trim, offset: 0, length: size }), 0);
  assert.equal(dataBlockCount(volume), 0);
  assert.equal(await client.status({ type: COMMAND.write, offset: 0, length: 4096 }), EINVAL);
  assert.equal(await client.status({ type: COMMAND.write, flags, length: 0 }), EINVAL);
  const stray = { type: COMMAND.read, flags, length: 4096 };
  assert.equal(await client.status(stray, Buffer.alloc(4096)), EINVAL);
  const huge = { type: COMMAND.read, offset: 2n ** 64n - 1n, length: 2n ** 64n - 1n };
  assert.equal(await client.status(huge), EOVERFLOW);
  assert.equal(await client.status({ type: COMMAND.flush }), 0);
  client.request({ type: COMMAND.trim, flags, length: 33 * MIB });
  await client.closed;
});

test('DISC answers what is under way, then closes; so does a half-closed socket', async (t) => {
  for (const way of ['disconnect', 'half-close'] as const) {
    const { negotiated, volume } = await serveVolumes(t);
    const client = await negotiated();
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    volume.gate = () => {
      asked.resolve();
      return gate.promise;
    };
    client.request({ type: COMMAND.read, cookie: 77n, length: 4096 });
    if (way === 'disconnect') client.request({ type: COMMAND.disconnect });
    else client.socket.end();
    await asked.promise;
    gate.resolve();
    assert.equal((await client.reply()).cookie, 77n);
    await client.take(4096);
    await client.closed;
  }
});

test('zero-length requests succeed and change nothing', async (t) => {
  const { negotiated, volume } = await serveVolumes(t);
  for (const mode of ['simple', 'structured'] as const) {
    const client = await negotiated({ mode });
    for (const type of [COMMAND.read, COMMAND.write, COMMAND.trim, COMMAND.writeZeroes, 5]) {
      assert.equal(await client.status({ type, length: 0 }), 0, `type ${type}`);
    }
  }
  assert.deepEqual([volume.calls.read, volume.calls.write, dataBlockCount(volume)], [0, 0, 0]);
});

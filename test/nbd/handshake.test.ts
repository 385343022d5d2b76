// The handshake byte by byte: every option, what malformed ones get, and that the frame is never
// lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INFO, OPTION, OPTION_REPLY } from '../../src/proto/nbd/constants.ts';
import { createMemoryVolume } from '../support/memory-device.ts';
import {
  contextData,
  encodeClientFlags,
  encodeOption,
  encodeOptionHeader,
  encodeRequest,
  infoData,
} from './client-codec.ts';
import type { OptionReply } from './client-codec.ts';
import { serveVolumes } from './harness.ts';

const MIB = 1024 * 1024;
const types = (replies: readonly OptionReply[]): number[] => replies.map((one) => one.type);

test('greeting: both magics, fixed newstyle and no-zeroes', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  const greeting = await client.greet();
  assert.equal(greeting.toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
  assert.equal(greeting.readUInt16BE(16), 3);
});

test('unknown client flags, and a wrong option magic, close the connection', async (t) => {
  const { connect } = await serveVolumes(t);
  const flags = await connect();
  await flags.greet(4);
  await flags.closed;
  const magic = await connect();
  await magic.greet();
  magic.send(Buffer.alloc(16, 0x41));
  await magic.closed;
});

test('EXPORT_NAME: with and without the 124 zeroes; an unknown name closes', async (t) => {
  const { connect } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
  for (const [flags, padding] of [
    [3, 0],
    [1, 124],
    [0, 124],
  ] as const) {
    const client = await connect();
    await client.greet(flags);
    client.send(encodeOption(OPTION.exportName, Buffer.from('disk')));
    const reply = await client.take(10 + padding);
    assert.equal(reply.readBigUInt64BE(0), BigInt(MIB));
    assert.equal(reply.readUInt16BE(8) & 1, 1);
    assert.ok(reply.subarray(10).every((byte) => byte === 0));
    // Nothing but the next reply follows.
    assert.equal(await client.status({ type: 3 }), 0);
    assert.equal(client.pending, 0);
  }
  const unknown = await connect();
  await unknown.greet();
  unknown.send(encodeOption(OPTION.exportName, Buffer.from('other')));
  await unknown.closed;
});

test('unknown options get ERR_UNSUP, with any data, and the next one works', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  for (const option of [0, 4, 12, 0xffffffff]) {
    const replies = await client.option(option, Buffer.alloc(77));
    assert.deepEqual(types(replies), [OPTION_REPLY.errUnsupported]);
    assert.equal(replies[0]!.option, option);
  }
  assert.deepEqual(types(await client.option(OPTION.list)), [OPTION_REPLY.server, 1]);
});

test('long option data are drained and refused with ERR_TOO_BIG; absurd ones close', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  for (const option of [OPTION.list, OPTION.go, 99]) {
    const replies = await client.option(option, Buffer.alloc(MIB));
    assert.deepEqual(types(replies), [OPTION_REPLY.errTooBig]);
  }
  assert.deepEqual(types(await client.option(OPTION.list)), [OPTION_REPLY.server, 1]);
  client.send(encodeOptionHeader(OPTION.list, 0xffffffff));
  await client.closed;
  const name = await connect();
  await name.greet();
  name.send(encodeOptionHeader(OPTION.exportName, MIB));
  await name.closed;
});

test('ABORT is acknowledged, whatever it carries, and the connection closes', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  const replies = await client.option(OPTION.abort, Buffer.from('bye'));
  assert.deepEqual(types(replies), [OPTION_REPLY.ack]);
  await client.closed;
});

test('options that take no data refuse some', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  for (const option of [OPTION.list, OPTION.structuredReply, OPTION.extendedHeaders]) {
    const replies = await client.option(option, Buffer.alloc(1));
    assert.deepEqual(types(replies), [OPTION_REPLY.errInvalid]);
  }
});

test('INFO and GO: all information asked for; INFO keeps haggling', async (t) => {
  const { connect, volume } = await serveVolumes(t, [
    createMemoryVolume('disk', MIB, { description: 'words' }),
  ]);
  const client = await connect();
  await client.greet();
  const asked = [INFO.blockSize, INFO.name, INFO.description, 4711];
  const replies = await client.option(OPTION.info, infoData('disk', asked));
  const infos = new Map(replies.slice(0, -1).map(({ data }) => [data.readUInt16BE(0), data]));
  assert.equal(replies.at(-1)!.type, OPTION_REPLY.ack);
  assert.deepEqual(new Set(infos.keys()), new Set([0, 1, 2, 3]));
  assert.equal(infos.get(INFO.export)!.readBigUInt64BE(2), BigInt(MIB));
  assert.equal(infos.get(INFO.name)!.toString('utf8', 2), 'disk');
  assert.equal(infos.get(INFO.description)!.toString('utf8', 2), 'words');
  assert.equal(infos.get(INFO.blockSize)!.toString('hex', 2), '00000200' + '00001000' + '02000000');
  assert.equal(volume.openHandles, 0, 'INFO keeps no handle');
  const unknown = await client.option(OPTION.go, infoData('nope'));
  assert.deepEqual(types(unknown), [OPTION_REPLY.errUnknown]);
  assert.deepEqual(types(await client.option(OPTION.go, infoData('disk'))), [3, 1]);
  assert.equal(volume.openHandles, 1, 'GO holds one');
});

test('malformed INFO, GO and context data get ERR_INVALID', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  await client.option(OPTION.structuredReply);
  const good = infoData('disk', [3]);
  const bad = [
    Buffer.alloc(0),
    Buffer.alloc(3),
    good.subarray(0, good.length - 1),
    Buffer.concat([good, Buffer.alloc(1)]),
    Buffer.from('ffffffff', 'hex'),
    Buffer.concat([Buffer.from('00000004', 'hex'), Buffer.from('a\0bc'), Buffer.alloc(2)]),
    Buffer.concat([Buffer.from('00000002', 'hex'), Buffer.from([0xff, 0xfe]), Buffer.alloc(2)]),
    infoData('x'.repeat(4097)),
  ];
  for (const data of bad) {
    assert.deepEqual(types(await client.option(OPTION.go, data)), [OPTION_REPLY.errInvalid]);
  }
  const contexts = [
    contextData('disk', ['nocolon']),
    contextData('disk', [':leaf']),
    Buffer.concat([contextData('disk', []).subarray(0, 8), Buffer.from('ffffffff', 'hex')]),
    contextData('disk', ['base:']).subarray(0, 12),
  ];
  for (const data of contexts) {
    for (const option of [OPTION.listMetaContext, OPTION.setMetaContext]) {
      assert.deepEqual(types(await client.option(option, data)), [OPTION_REPLY.errInvalid]);
    }
  }
});

test('contexts: wildcards only list, unknown namespaces are ignored', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  const [LIST, SET] = [OPTION.listMetaContext, OPTION.setMetaContext];
  const ask = async (option: number, name: string, queries: string[]): Promise<number[]> =>
    types(await client.option(option, contextData(name, queries)));
  assert.deepEqual(await ask(SET, 'disk', ['base:allocation']), [OPTION_REPLY.errInvalid]);
  await client.option(OPTION.structuredReply);
  assert.deepEqual(await ask(LIST, 'disk', []), [4, 1]);
  assert.deepEqual(await ask(LIST, 'disk', ['base:']), [4, 1]);
  assert.deepEqual(await ask(LIST, 'disk', ['qemu:', 'x-a:b', 'base:other']), [1]);
  assert.deepEqual(await ask(SET, 'disk', []), [1]);
  assert.deepEqual(await ask(SET, 'disk', ['base:']), [1]);
  assert.deepEqual(await ask(SET, 'disk', ['base:allocation', 'base:allocation']), [4, 1]);
  assert.deepEqual(await ask(SET, 'none', ['base:allocation']), [OPTION_REPLY.errUnknown]);
  // The failed SET has deselected the context.
  await client.option(OPTION.go, infoData('disk'));
  assert.equal(await client.status({ type: 7, length: 4096 }), 22);
});

test('a context selected for one export says nothing about another', async (t) => {
  const { connect } = await serveVolumes(t, [
    createMemoryVolume('one', MIB),
    createMemoryVolume('two', MIB),
  ]);
  const client = await connect();
  await client.greet();
  await client.option(OPTION.structuredReply);
  await client.option(OPTION.setMetaContext, contextData('one', ['base:allocation']));
  await client.option(OPTION.go, infoData('two'));
  assert.equal(await client.status({ type: 7, length: 4096 }), 22);
});

test('extended headers: no EXPORT_NAME after them, no way back', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  await client.greet();
  assert.deepEqual(types(await client.option(OPTION.extendedHeaders)), [1]);
  const back = await client.option(OPTION.structuredReply);
  assert.deepEqual(types(back), [OPTION_REPLY.errExtendedHeadersRequired]);
  client.send(encodeOption(OPTION.exportName, Buffer.from('disk')));
  await client.closed;
});

test('a handshake may come byte by byte, with requests right behind it', async (t) => {
  const { connect } = await serveVolumes(t);
  const client = await connect();
  const bytes = Buffer.concat([
    encodeClientFlags(3),
    encodeOption(OPTION.structuredReply),
    encodeOption(OPTION.go, infoData('disk')),
    encodeRequest({ type: 0, cookie: 5n, offset: 0, length: 512 }),
  ]);
  client.socket.setNoDelay(true);
  for (const byte of bytes) client.socket.write(Buffer.from([byte]));
  await client.take(18);
  assert.deepEqual(types(await client.optionReplies()), [1]);
  assert.deepEqual(types(await client.optionReplies()), [3, 1]);
  assert.equal((await client.reply()).cookie, 5n);
});

test('a handshake cut short anywhere leaves the server serving', async (t) => {
  const { connect, server } = await serveVolumes(t);
  const bytes = Buffer.concat([encodeClientFlags(3), encodeOption(OPTION.go, infoData('disk'))]);
  for (let cut = 0; cut < bytes.length; cut += 3) {
    const client = await connect();
    client.send(bytes.subarray(0, cut));
    client.socket.end();
    await client.closed;
  }
  const client = await connect();
  await client.negotiate();
  assert.equal(await client.status({ type: 3 }), 0);
  assert.ok(server.counters.connections > bytes.length / 3);
});

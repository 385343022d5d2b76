// STARTTLS byte by byte: what a listener answers in each mode, and that nothing sent in clear gets
// into the sealed conversation.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { OPTION, OPTION_REPLY } from '../../src/proto/nbd/constants.ts';
import type { AccessTable } from '../../src/server/nbd/access.ts';
import type { TlsMode } from '../../src/server/nbd/address.ts';
import type { NbdServerSettings } from '../../src/server/nbd/server.ts';
import { loadTlsCredentials, type TlsCredentials } from '../../src/server/tls/credentials.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { createMemoryVolume } from '../support/memory-device.ts';
import { encodeOption, encodeOptionHeader, infoData } from './client-codec.ts';
import { serveVolumes } from './harness.ts';
import type { Served } from './harness.ts';
import type { RawClient } from './raw-client.ts';

const MIB = 1024 * 1024;

let made: Certificates;
let ca: Buffer;
let alice: ConnectionOptions;
let plain: TlsCredentials | undefined;
let mutual: TlsCredentials | undefined;
before(async () => {
  made = await makeCertificates();
  ca = await readFile(made.ca);
  alice = { ca, cert: await readFile(made.clientCert), key: await readFile(made.clientKey) };
  const server = { cert: made.cert, key: made.key, clientCa: undefined, pskFile: undefined };
  plain = await loadTlsCredentials(server, () => {});
  const clients = { clientCa: made.ca, pskFile: made.psk };
  mutual = await loadTlsCredentials({ ...server, ...clients }, () => {});
});
after(() => made.remove());

function serve(
  t: TestContext,
  tls: TlsCredentials | undefined,
  mode: TlsMode,
  more: { access?: AccessTable; settings?: Partial<NbdServerSettings> } = {},
): Promise<Served> {
  const volumes = ['disk', 'other'].map((name) => createMemoryVolume(name, MIB));
  return serveVolumes(t, volumes, more.settings, { tls, mode, access: more.access });
}

async function typeOf(client: RawClient, option: number, data?: Uint8Array): Promise<number> {
  return (await client.option(option, data)).at(-1)!.type;
}

async function greeted(served: Served): Promise<RawClient> {
  const client = await served.connect();
  await client.greet();
  return client;
}

test('without TLS, STARTTLS is refused by policy and the handshake goes on', async (t) => {
  const client = await greeted(await serve(t, undefined, 'off'));
  assert.equal(await typeOf(client, OPTION.startTls), OPTION_REPLY.errPolicy);
  assert.equal(await typeOf(client, OPTION.go, infoData('disk')), OPTION_REPLY.ack);
  const off = await greeted(await serve(t, plain, 'off'));
  assert.equal(await typeOf(off, OPTION.startTls), OPTION_REPLY.errPolicy);
});

test('where TLS is required nothing is told before it', async (t) => {
  const served = await serve(t, plain, 'required');
  const client = await greeted(served);
  const { errTlsRequired } = OPTION_REPLY;
  assert.equal(await typeOf(client, OPTION.list), errTlsRequired);
  for (const option of [OPTION.info, OPTION.go]) {
    assert.equal(await typeOf(client, option, infoData('disk')), errTlsRequired);
  }
  assert.equal(await typeOf(client, OPTION.structuredReply), errTlsRequired);
  assert.equal(await typeOf(client, 99), errTlsRequired);
  const name = await greeted(served);
  name.send(encodeOption(OPTION.exportName, Buffer.from('disk')));
  await name.closed;
  const secure = await client.startTls({ ca });
  assert.equal(await typeOf(secure, OPTION.go, infoData('disk')), OPTION_REPLY.ack);
  assert.equal(await secure.status({ type: 3 }), 0);
});

test('what was negotiated in clear is forgotten, and STARTTLS is said once', async (t) => {
  const client = await greeted(await serve(t, plain, 'offered'));
  assert.equal(await typeOf(client, OPTION.startTls, Buffer.alloc(1)), OPTION_REPLY.errInvalid);
  assert.equal(await typeOf(client, OPTION.extendedHeaders), OPTION_REPLY.ack);
  const secure = await client.startTls({ ca });
  assert.equal(await typeOf(secure, OPTION.startTls), OPTION_REPLY.errInvalid);
  // Had the server kept extended headers, it would refuse structured replies.
  assert.equal(await typeOf(secure, OPTION.structuredReply), OPTION_REPLY.ack);
  assert.equal(await typeOf(secure, OPTION.go, infoData('disk')), OPTION_REPLY.ack);
});

test('bytes in clear behind STARTTLS end the connection', async (t) => {
  const served = await serve(t, plain, 'offered');
  const injected = encodeOption(OPTION.go, infoData('disk'));
  const together = await greeted(served);
  together.send(encodeOption(OPTION.startTls), injected);
  await together.closed;
  assert.ok(together.pending <= 20, 'the reply to STARTTLS at most');
  // Part of an option, which the client's own sealed bytes would complete.
  const part = await greeted(served);
  part.send(encodeOption(OPTION.startTls), encodeOptionHeader(OPTION.list, 0).subarray(0, 5));
  await part.closed;
  assert.ok(part.pending <= 20);
  const late = await greeted(served);
  assert.equal(await typeOf(late, OPTION.startTls), OPTION_REPLY.ack);
  late.send(injected);
  await late.closed;
  // An alert of TLS at most: no reply to the option.
  assert.ok(late.pending < 20);
  assert.equal(served.volume.openHandles, 0);
});

test('the deadline of the handshake bounds TLS and what follows it', async (t) => {
  const served = await serve(t, plain, 'required', { settings: { handshakeMs: 150 } });
  const silent = await greeted(served);
  assert.equal(await typeOf(silent, OPTION.startTls), OPTION_REPLY.ack);
  await silent.closed;
  const slow = await (await greeted(served)).startTls({ ca });
  await slow.closed;
});

test('a client without a certificate gets nothing, nor one that only names a key', async (t) => {
  const served = await serve(t, mutual, 'required', { access: { alice: ['*'] } });
  const wrongKey = {
    ca,
    // The suites with SHA-256 left out, OpenSSL ignores the key and goes on with certificates.
    ciphers: 'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384',
    pskCallback: () => ({ psk: Buffer.alloc(32, 7), identity: 'alice' }),
  };
  // Signed by the CA, but for servers.
  const stolen = { ca, cert: await readFile(made.cert), key: await readFile(made.key) };
  for (const options of [{ ca }, wrongKey, stolen]) {
    const client = await greeted(served);
    const secure = await client.startTls(options).catch(() => undefined);
    // In TLS 1.3 the client is done first, and hears of the refusal with the next bytes.
    secure?.send(encodeOption(OPTION.list));
    await (secure ?? client).closed;
    assert.equal(secure?.pending ?? 0, 0);
  }
});

test('the access table: what a client may not open looks as if it were not there', async (t) => {
  const served = await serve(t, mutual, 'offered', { access: { alice: ['other'] } });
  const clear = await greeted(served);
  assert.deepEqual(await names(clear), []);
  const secure = await (await greeted(served)).startTls(alice);
  assert.deepEqual(await names(secure), ['other']);
  const [hidden] = await secure.option(OPTION.go, infoData('disk'));
  const [absent] = await secure.option(OPTION.go, infoData('none'));
  assert.equal(hidden!.type, OPTION_REPLY.errUnknown);
  const message = hidden!.data.toString().replace('disk', 'none');
  assert.deepEqual([absent!.type, absent!.data.toString()], [hidden!.type, message]);
  assert.equal(await typeOf(secure, OPTION.go, infoData('other')), OPTION_REPLY.ack);
});

test('clients without an entry have that of everybody', async (t) => {
  const access = { '*': ['disk'], alice: ['*'] };
  const served = await serve(t, mutual, 'offered', { access });
  assert.deepEqual(await names(await greeted(served)), ['disk']);
  assert.deepEqual(await names(await (await greeted(served)).startTls(alice)), ['disk', 'other']);
});

test('a stop ends clients over TLS, and one that has not begun it', async (t) => {
  const served = await serve(t, plain, 'offered');
  const waiting = await greeted(served);
  assert.equal(await typeOf(waiting, OPTION.startTls), OPTION_REPLY.ack);
  const secure = await (await greeted(served)).startTls({ ca });
  assert.equal(await typeOf(secure, OPTION.go, infoData('disk')), OPTION_REPLY.ack);
  const stopped = served.server.stop();
  await Promise.all([waiting.closed, secure.closed]);
  waiting.destroy();
  secure.destroy();
  await stopped;
  assert.equal(served.volume.openHandles, 0);
});

async function names(client: RawClient): Promise<string[]> {
  const replies = await client.option(OPTION.list);
  return replies
    .filter(({ type }) => type === OPTION_REPLY.server)
    .map(({ data }) => data.subarray(4, 4 + data.readUInt32BE(0)).toString());
}

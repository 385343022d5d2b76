import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import { makeCertificates } from '../../../test/support/certificates.ts';
import { isStorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { httpTlsOptions, loadTlsCredentials } from '../tls/credentials.ts';
import { type HttpFace, startHttpFace } from './listener.ts';
import { METRICS_CONTENT_TYPE } from './metrics.ts';
import { fakeService, STATUS } from './testing.ts';

const TOKEN = 'a-token-of-25-characters!';

let service = fakeService();
let face: HttpFace | undefined;
beforeEach(() => {
  service = fakeService();
});
afterEach(async () => {
  await face?.close();
  face = undefined;
});

async function start(token?: string): Promise<URL> {
  face = await startHttpFace({ service, log: silentLog }, { host: '127.0.0.1', port: 0, token });
  return new URL(face.uri);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

async function answerTo(sent: ClientRequest): Promise<Answer> {
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of response) text += String(part);
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

function ask(url: URL, method: string, path: string, headers = {}): Promise<Answer> {
  return answerTo(overHttp(new URL(path, url), { method, headers, agent: false }));
}

test('the routes of the admin socket, and metrics', async () => {
  const url = await start();
  const status = await ask(url, 'GET', '/status');
  assert.deepEqual(JSON.parse(status.text), STATUS);
  assert.equal((await ask(url, 'POST', '/flush')).status, 200);
  assert.deepEqual(service.asked, ['flush']);
  const metrics = await ask(url, 'GET', '/metrics');
  assert.equal(metrics.headers['content-type'], METRICS_CONTENT_TYPE);
  assert.match(metrics.text, /^varve_barriers_total 2$/m);
  assert.equal((await ask(url, 'POST', '/metrics')).status, 404);
});

test('what may not ask changes nothing and learns nothing', async () => {
  const url = await start();
  const refused = [{ host: 'evil.example' }, { origin: 'https://evil.example' }];
  for (const headers of refused) {
    for (const [method, path] of [
      ['POST', '/flush'],
      ['GET', '/status'],
      ['GET', '/metrics'],
    ] as const) {
      const { status, text } = await ask(url, method, path, headers);
      assert.equal(status, 403);
      assert.deepEqual(Object.keys(JSON.parse(text)), ['error']);
    }
  }
  assert.deepEqual(service.asked, []);
  const preflight = await ask(url, 'OPTIONS', '/flush');
  assert.equal(preflight.headers['access-control-allow-origin'], undefined);
});

test('with a token, requests without it are refused before their body is read', async () => {
  const url = await start(TOKEN);
  const bare = await ask(url, 'POST', '/flush');
  assert.deepEqual([bare.status, bare.headers['www-authenticate']], [401, 'Bearer']);
  assert.ok(!bare.text.includes(TOKEN));
  const authorization = `Bearer ${TOKEN}`;
  assert.equal((await ask(url, 'POST', '/flush', { authorization })).status, 200);
  assert.deepEqual(service.asked, ['flush']);
});

test('over TLS: the certificate is checked, clear requests get nothing', async () => {
  const made = await makeCertificates();
  const [ca, files] = [await readFile(made.ca), { cert: made.cert, key: made.key }];
  const more = { clientCa: made.ca, pskFile: undefined };
  const credentials = await loadTlsCredentials({ ...files, ...more }, () => {});
  await made.remove();
  const tls = httpTlsOptions(credentials!);
  face = await startHttpFace(
    { service, log: silentLog, tls },
    { host: 'localhost', port: 0, token: TOKEN },
  );
  const url = new URL('/status', face.uri);
  assert.equal(url.protocol, 'https:');
  const headers = { authorization: `Bearer ${TOKEN}` };
  // A CA for clients concerns devices: here the token tells who may ask.
  const sealed = await answerTo(overHttps(url, { ca, headers, agent: false }));
  assert.equal(sealed.status, 200);
  await assert.rejects(answerTo(overHttps(url, { headers, agent: false })), /certificate/i);
  const old = { ca, headers, agent: false, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' } as const;
  await assert.rejects(answerTo(overHttps(url, { ...old, ciphers: 'ALL:@SECLEVEL=0' })));
  const clear = connect(Number(url.port), 'localhost');
  clear.on('error', () => {});
  clear.write('GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n');
  let got = '';
  clear.on('data', (part: Buffer) => (got += part.toString('latin1')));
  await once(clear, 'close');
  assert.ok(!got.includes('HTTP'));
});

test('a taken port is named', async () => {
  const url = await start();
  const again = startHttpFace(
    { service, log: silentLog },
    { host: '127.0.0.1', port: Number(url.port), token: undefined },
  );
  await assert.rejects(
    again,
    (error) => isStorageError(error, 'exists') && error.message.includes(url.port),
  );
});

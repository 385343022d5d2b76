import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { parseConfig } from './config-file.ts';
import type { FlagValues } from './setting-flags.ts';
import { anchorPaths, checkServeSettings, resolveSettings } from './settings.ts';

const CERT = { 'tls.cert': 'c.pem', 'tls.key': 'k.pem' };
const TOKEN = { 'http.token-file': 'token' };

function complaint(flags: FlagValues): string {
  try {
    checkServeSettings(resolveSettings(flags, undefined));
  } catch (error) {
    assert.ok(isStorageError(error, 'invalid'), String(error));
    return error.message;
  }
  return 'nothing';
}

test('a listener that others can reach needs TLS, or --insecure', () => {
  for (const host of ['0.0.0.0', '[::]', '192.0.2.1', 'db.example', '[::ffff:10.0.0.1]']) {
    const nbd = [`${host}:10809`];
    assert.match(complaint({ nbd }), /^nbd .*:10809: other machines .*--insecure/, host);
    assert.equal(complaint({ nbd, insecure: true }), 'nothing');
    assert.equal(complaint({ nbd, ...CERT }), 'nothing', 'required is the default there');
    assert.equal(complaint({ nbd, 'tls.psk-file': 'keys' }), 'nothing');
    assert.match(complaint({ nbd: [`${host}:1?tls=offered`], ...CERT }), /other machines/);
    assert.match(complaint({ nbd: [`${host}:1?tls=off`], ...CERT }), /other machines/);
  }
  for (const place of ['127.0.0.1', '127.9.9.9', 'localhost', '[::1]', 'unix:x']) {
    assert.equal(complaint({ nbd: [place] }), 'nothing', place);
  }
});

test('TLS settings that do not go together are named', () => {
  assert.match(complaint({ 'tls.cert': 'c' }), /tls\.cert and tls\.key go together/);
  assert.match(complaint({ 'tls.client-ca': 'c' }), /tls\.client-ca needs tls\.cert/);
  assert.match(complaint({ nbd: ['localhost?tls=required'] }), /no certificate and no key/);
  assert.match(complaint({ 'tls.exports': ['alice=disk'] }), /^tls\.exports: without TLS/);
  assert.match(complaint({ 'tls.exports': ['alice'], ...CERT }), /--tls-export: "alice" must be/);
});

test('HTTP off loopback needs a token, and TLS or --insecure', () => {
  const http = { 'http.listen': '0.0.0.0:80' };
  assert.match(complaint(http), /http 0\.0\.0\.0:80: .*token-file/);
  assert.match(complaint({ ...http, insecure: true }), /token-file/);
  assert.match(complaint({ ...http, ...TOKEN }), /in clear/);
  assert.match(complaint({ ...http, ...TOKEN, ...CERT, 'http.tls': 'off' }), /in clear/);
  assert.equal(complaint({ ...http, ...TOKEN, insecure: true }), 'nothing');
  assert.equal(complaint({ ...http, ...TOKEN, ...CERT }), 'nothing');
  assert.equal(complaint({ 'http.listen': '127.0.0.1:80' }), 'nothing');
  assert.match(complaint({ 'http.listen': '127.0.0.1:80', 'http.tls': 'on' }), /needs tls\.cert/);
  assert.match(complaint({ 'http.listen': 'unix:x' }), /^--http: "unix:x"/);
  assert.match(complaint({ 'http.listen': 'localhost' }), /^--http: "localhost"/);
});

test('the file: paths are relative to it, the table of exports is merged by identity', () => {
  const text = `nbd = ["unix:run/s?tls=required"]
[tls]
cert = "c.pem"
key = "/abs/k.pem"
psk-file = "keys"
[tls.exports]
alice = ["disk"]
bob = ["*"]
[http]
token-file = "token"
`;
  const file = anchorPaths(parseConfig('v.toml', text, {}), '/etc/varve/varve.toml');
  const flags = { 'tls.exports': ['alice=a', 'alice=b=c', 'eve=x'] };
  const { tls, http, nbd } = resolveSettings(flags, file);
  assert.deepEqual(nbd, [{ path: '/etc/varve/run/s', tls: 'required' }]);
  const { cert, key, pskFile, clientCa } = tls;
  assert.deepEqual([cert, key], ['/etc/varve/c.pem', '/abs/k.pem']);
  assert.deepEqual([pskFile, clientCa], ['/etc/varve/keys', undefined]);
  assert.deepEqual(tls.exports, { alice: ['a', 'b=c'], bob: ['*'], eve: ['x'] });
  assert.equal(http.tokenFile, '/etc/varve/token');
});

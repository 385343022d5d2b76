import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { formatNbdAddress, parseNbdAddress, tlsModeOf } from './address.ts';

test('addresses are read and written alike', () => {
  for (const text of ['127.0.0.1:10809', '[::1]:0', 'unix:/run/x.sock', 'localhost:65535']) {
    assert.equal(formatNbdAddress(parseNbdAddress(text)), text);
  }
  assert.deepEqual(parseNbdAddress('localhost'), { host: 'localhost', port: 10809 });
  assert.deepEqual(parseNbdAddress('unix:a:b'), { path: 'a:b' });
});

test('an address may say how it does TLS', () => {
  for (const text of ['127.0.0.1:1?tls=off', '[::1]:0?tls=offered', 'unix:/a?b?tls=required']) {
    assert.equal(formatNbdAddress(parseNbdAddress(text)), text);
  }
  assert.deepEqual(parseNbdAddress('unix:/a?b?tls=required'), { path: '/a?b', tls: 'required' });
  for (const text of ['a:1?tls=', 'a:1?tls=on', 'a:1?x=1', 'unix:?tls=off', 'unix:/x?tls=Off']) {
    assert.throws(
      () => parseNbdAddress(text),
      (e) => isStorageError(e, 'invalid'),
      text,
    );
  }
});

test('without a word TLS is required off loopback, offered on it, off where there is none', () => {
  const mode = (text: string, configured: boolean): string =>
    tlsModeOf(parseNbdAddress(text), configured);
  for (const text of ['127.0.0.1:1', 'localhost', '[::1]:1', 'unix:x']) {
    assert.equal(mode(text, true), 'offered', text);
  }
  for (const text of ['10.0.0.1:1', 'localhost.example', '0.0.0.0:1', '[::]:1', '127.1.example']) {
    assert.equal(mode(text, true), 'required', text);
    assert.equal(mode(text, false), 'off', text);
  }
  assert.equal(mode('0.0.0.0:1?tls=off', true), 'off');
});

test('what is no address is invalid', () => {
  const long = `unix:/${'x'.repeat(107)}`;
  for (const text of ['', ':', ':1', 'unix:', 'a:b', 'a:65536', '::1', '[::1', 'a:1:2', long]) {
    assert.throws(
      () => parseNbdAddress(text),
      (e) => isStorageError(e, 'invalid'),
      text,
    );
  }
});

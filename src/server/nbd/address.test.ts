import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { formatNbdAddress, parseNbdAddress } from './address.ts';

test('addresses are read and written alike', () => {
  for (const text of ['127.0.0.1:10809', '[::1]:0', 'unix:/run/x.sock', 'localhost:65535']) {
    assert.equal(formatNbdAddress(parseNbdAddress(text)), text);
  }
  assert.deepEqual(parseNbdAddress('localhost'), { host: 'localhost', port: 10809 });
  assert.deepEqual(parseNbdAddress('unix:a:b'), { path: 'a:b' });
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

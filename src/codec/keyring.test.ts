import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { createKeyring } from './keyring.ts';

const salt = new Uint8Array(16).fill(9);

function keyOf(fill: number, storeId: string, name: string, objectSalt = salt): string {
  const dataKey = new Uint8Array(32).fill(fill);
  const keyring = createKeyring({ dataKey, storeId, cipher: 'chacha20-poly1305' });
  return Buffer.from(keyring.sealFor(name, objectSalt).key).toString('hex');
}

test('the key is HKDF-SHA256 of the documented input', () => {
  const info = Buffer.concat([
    Buffer.from('varve object key v1'),
    Buffer.from([1, 2]),
    Buffer.from('id'),
    Buffer.from([5]),
    Buffer.from('log/1'),
  ]);
  const extracted = createHmac('sha256', salt).update(new Uint8Array(32).fill(3)).digest();
  const expanded = createHmac('sha256', extracted)
    .update(info)
    .update(Buffer.from([1]))
    .digest();
  assert.equal(keyOf(3, 'id', 'log/1'), expanded.toString('hex'));
});

test('data key, store, name, salt and cipher each change the key', () => {
  const keys = new Set([
    keyOf(3, 'id', 'log/1'),
    keyOf(4, 'id', 'log/1'),
    keyOf(3, 'ie', 'log/1'),
    keyOf(3, 'id', 'log/2'),
    keyOf(3, 'idlog', '/1'),
    keyOf(3, 'id', 'log/1', new Uint8Array(16)),
  ]);
  const dataKey = new Uint8Array(32).fill(3);
  const keyring = createKeyring({ dataKey, storeId: 'id', cipher: 'aes-256-gcm' });
  keys.add(Buffer.from(keyring.sealFor('log/1', salt).key).toString('hex'));
  assert.equal(keys.size, 7);
  assert.equal(keyring.sealFor('log/1', salt).cipher, 'aes-256-gcm');
  const explicit = keyring.sealFor('log/1', salt, 'chacha20-poly1305');
  assert.equal(Buffer.from(explicit.key).toString('hex'), keyOf(3, 'id', 'log/1'));
});

test('a keyring keeps its own copy of the data key, and checks its input', () => {
  const dataKey = new Uint8Array(32).fill(3);
  const keyring = createKeyring({ dataKey, storeId: 'id', cipher: 'chacha20-poly1305' });
  dataKey.fill(0);
  const { key } = keyring.sealFor('log/1', salt);
  assert.equal(Buffer.from(key).toString('hex'), keyOf(3, 'id', 'log/1'));
  assert.throws(() => keyring.sealFor('log/1', new Uint8Array(12)), /16 bytes/);
  assert.throws(() => keyring.sealFor('x'.repeat(1000), salt), /960 bytes/);
  assert.throws(() => keyOf(3, '', 'log/1'), /has an id/);
});

test('the longest names still give a key', () => {
  assert.equal(keyOf(3, 'id', 'x'.repeat(950)).length, 64);
});

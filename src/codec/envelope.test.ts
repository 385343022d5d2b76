import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { envelopeVersion, openEnvelope, sealEnvelope } from './envelope.ts';
import { createKeyring } from './keyring.ts';
import type { CipherName, CompressionName } from './types.ts';

const rng = createSeededRng(1);
const identity = { magic: 'VARVTEST', version: 3, name: 'branches/x/manifest/7' };
const expected = { magic: 'VARVTEST', versions: [2, 3], name: 'branches/x/manifest/7' };

function keyringOf(cipher: CipherName = 'chacha20-poly1305', fill = 5) {
  return createKeyring({ dataKey: new Uint8Array(32).fill(fill), storeId: 'store', cipher });
}

function corruptWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => isStorageError(error, 'corrupt') && pattern.test(error.message);
}

test('an envelope opens to what was sealed, under any keyring of the same key', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000 }),
      fc.constantFrom<CompressionName>('none', 'lz4', 'zstd'),
      fc.constantFrom<CipherName>('chacha20-poly1305', 'aes-256-gcm'),
      (plain, compression, cipher) => {
        const object = sealEnvelope(keyringOf(cipher), rng, identity, plain, compression);
        assert.equal(envelopeVersion('VARVTEST', 'x', object), 3);
        // The reader's own default cipher does not matter: the envelope names its own.
        assert.deepEqual(openEnvelope(keyringOf(), expected, object), plain);
      },
    ),
    { numRuns: 100 },
  );
});

test('every flipped bit and every truncation of an envelope is noticed', () => {
  const keyring = keyringOf();
  const plain = new TextEncoder().encode('which tables there are, which snapshots');
  const object = sealEnvelope(keyring, rng, identity, plain, 'lz4');
  const versions = Array.from({ length: 65_536 }, (_, i) => i);
  for (let bit = 0; bit < object.length * 8; bit++) {
    object[bit >> 3]! ^= 1 << (bit & 7);
    // With every version accepted, a flipped version must still fail authentication.
    assert.throws(() => openEnvelope(keyring, { ...expected, versions }, object), corruptWith(/./));
    object[bit >> 3]! ^= 1 << (bit & 7);
  }
  for (let length = 0; length < object.length; length++) {
    const part = object.subarray(0, length);
    assert.throws(() => openEnvelope(keyring, expected, part), corruptWith(/./));
  }
  assert.deepEqual(openEnvelope(keyring, expected, object), plain);
});

test('what is wrong with an envelope is said', () => {
  const keyring = keyringOf();
  const plain = new Uint8Array(10);
  const object = sealEnvelope(keyring, rng, identity, plain, 'none');
  const open = (change: Partial<typeof expected>, bytes = object) =>
    openEnvelope(keyring, { ...expected, ...change }, bytes);
  assert.throws(() => open({ magic: 'VARVELSE' }), corruptWith(/manifest\/7 does not begin with/));
  assert.throws(() => open({ versions: [1] }), corruptWith(/unknown version 3/));
  assert.throws(() => open({ name: 'other' }), corruptWith(/of other fails authentication/));
  assert.throws(() => open({}, object.subarray(0, 30)), corruptWith(/ends early/));
  assert.throws(
    () => openEnvelope(keyringOf(undefined, 6), expected, object),
    corruptWith(/fails/),
  );
  const cipher = Uint8Array.from(object).fill(99, 10, 11);
  assert.throws(() => open({}, cipher), corruptWith(/manifest\/7 names unknown cipher 99/));
});

test('two envelopes of one plaintext share neither salt nor ciphertext', () => {
  const plain = new Uint8Array(32);
  const a = sealEnvelope(keyringOf(), rng, identity, plain, 'none');
  const b = sealEnvelope(keyringOf(), rng, identity, plain, 'none');
  assert.notDeepEqual(a.subarray(12, 28), b.subarray(12, 28));
  assert.notDeepEqual(a.subarray(28), b.subarray(28));
});

test('a plaintext past 16 MiB is refused, not cut', () => {
  const plain = new Uint8Array(2 ** 24);
  assert.throws(
    () => sealEnvelope(keyringOf(), rng, identity, plain, 'none'),
    (error) => isStorageError(error, 'invalid'),
  );
});

test('random bytes after a right header are never more than corrupt', () => {
  const header = sealEnvelope(keyringOf(), rng, identity, new Uint8Array(0), 'none').subarray(
    0,
    12,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (tail) => {
      const bytes = Buffer.concat([header, tail]);
      assert.throws(() => openEnvelope(keyringOf(), expected, bytes), corruptWith(/./));
    }),
  );
});

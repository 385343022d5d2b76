import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { authenticate, FrameKind, openFrame, sealedFrameBytesMax } from './frame.ts';
import { sealFrame, unsealFrame, verifyAuthentic } from './frame.ts';
import { aeadSeal } from './aead.ts';
import { createKeyring } from './keyring.ts';
import type { CipherName, CompressionName, ObjectSeal } from './types.ts';

const CIPHERS: readonly CipherName[] = ['chacha20-poly1305', 'aes-256-gcm'];
const COMPRESSIONS: readonly CompressionName[] = ['none', 'lz4', 'zstd'];

const keyring = createKeyring({
  dataKey: new Uint8Array(32).fill(5),
  storeId: 'store',
  cipher: 'chacha20-poly1305',
});

function sealOf(name = 'log/1', cipher: CipherName = 'chacha20-poly1305'): ObjectSeal {
  return keyring.sealFor(name, new Uint8Array(16).fill(1), cipher);
}

/** Bytes that shrink well but are not all alike. */
function repetitive(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7) % ((i % 13) + 1));
}

function sealed(
  seal: ObjectSeal,
  plain: Uint8Array,
  compression: CompressionName = 'none',
): Uint8Array {
  const target = new Uint8Array(sealedFrameBytesMax(plain.length));
  const length = sealFrame(seal, FrameKind.data, 3, compression, plain, target, 0);
  return target.subarray(0, length);
}

function isCorrupt(error: unknown): boolean {
  return isStorageError(error, 'corrupt');
}

const plaintexts = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.nat(20_000).map((length) => repetitive(length)),
);

test('a frame opens to what was sealed, whatever cipher, compression and length', () => {
  fc.assert(
    fc.property(
      plaintexts,
      fc.constantFrom(...CIPHERS),
      fc.constantFrom(...COMPRESSIONS),
      fc.constantFrom(...Object.values(FrameKind)),
      fc.maxSafeNat(),
      fc.nat(50),
      (plain, cipher, compression, kind, index, at) => {
        const seal = sealOf('a/b', cipher);
        const target = new Uint8Array(at + sealedFrameBytesMax(plain.length));
        const length = sealFrame(seal, kind, index, compression, plain, target, at);
        assert.ok(length <= sealedFrameBytesMax(plain.length));
        assert.ok(target.subarray(0, at).every((byte) => byte === 0));
        const out = new Uint8Array(at + plain.length);
        const frame = target.subarray(at, at + length);
        assert.equal(unsealFrame(seal, kind, index, frame, out, at), plain.length);
        assert.deepEqual(out.subarray(at), plain);
        assert.ok(out.subarray(0, at).every((byte) => byte === 0));
      },
    ),
    { numRuns: 300 },
  );
});

test('compression is kept only when it saves a sixteenth', () => {
  const random = createSeededRng(1).bytes(4096);
  for (const compression of ['lz4', 'zstd'] as const) {
    assert.equal(sealed(sealOf(), random, compression)[0], 0);
    const packed = sealed(sealOf(), repetitive(4096), compression);
    assert.notEqual(packed[0], 0);
    assert.ok(packed.length - 20 <= 4096 - 4096 / 16);
  }
});

test('every flipped bit of a frame is noticed', () => {
  for (const cipher of CIPHERS) {
    for (const compression of COMPRESSIONS) {
      const plain = repetitive(120);
      const seal = sealOf('log/1', cipher);
      const frame = Uint8Array.from(sealed(seal, plain, compression));
      for (let bit = 0; bit < frame.length * 8; bit++) {
        frame[bit >> 3]! ^= 1 << (bit & 7);
        const out = new Uint8Array(plain.length);
        assert.throws(() => unsealFrame(seal, FrameKind.data, 3, frame, out, 0), isCorrupt);
        assert.ok(
          out.every((byte) => byte === 0),
          'nothing unauthenticated is handed out',
        );
        frame[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
  }
});

test('every truncation and any extension of a frame is noticed', () => {
  const seal = sealOf();
  const frame = sealed(seal, repetitive(200), 'lz4');
  for (let length = 0; length < frame.length; length++) {
    const part = frame.subarray(0, length);
    assert.throws(() => openFrame(seal, FrameKind.data, 3, part, 200), isCorrupt);
  }
  const longer = Uint8Array.from([...frame, 0]);
  assert.throws(() => openFrame(seal, FrameKind.data, 3, longer, 200), isCorrupt);
});

test('a frame opens only under its own object, kind, index, cipher, salt and store', () => {
  const plain = repetitive(64);
  const seal = sealOf();
  const frame = sealed(seal, plain);
  const refuses = (other: ObjectSeal, kind: FrameKind, index: number): void => {
    assert.throws(() => openFrame(other, kind, index, frame, 64), isCorrupt);
  };
  refuses(sealOf('log/2'), FrameKind.data, 3);
  refuses(seal, FrameKind.records, 3);
  refuses(seal, FrameKind.data, 4);
  refuses(seal, FrameKind.data, 3 + 2 ** 32);
  refuses(sealOf('log/1', 'aes-256-gcm'), FrameKind.data, 3);
  refuses(keyring.sealFor('log/1', new Uint8Array(16).fill(2)), FrameKind.data, 3);
  const dataKey = new Uint8Array(32).fill(5);
  const elsewhere = createKeyring({ dataKey, storeId: 'other', cipher: 'chacha20-poly1305' });
  refuses(elsewhere.sealFor('log/1', new Uint8Array(16).fill(1)), FrameKind.data, 3);
  // The associated data alone must refuse another name, even if the key were the same.
  refuses({ ...seal, associated: sealOf('log/2').associated }, FrameKind.data, 3);
  assert.deepEqual(openFrame(seal, FrameKind.data, 3, frame, 64), plain);
});

test('random bytes are never more than corrupt', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(300), (bytes, room) => {
      assert.throws(() => openFrame(sealOf(), FrameKind.data, 0, bytes, room), isCorrupt);
    }),
  );
});

test('a frame that does not fit its target is corrupt, and says which frame', () => {
  const frame = sealed(sealOf(), repetitive(100), 'lz4');
  const target = new Uint8Array(120);
  assert.throws(
    () => unsealFrame(sealOf(), FrameKind.data, 3, frame, target, 21),
    (error) => isCorrupt(error) && /data frame 3 of log\/1 claims 100/.test(String(error)),
  );
  assert.equal(unsealFrame(sealOf(), FrameKind.data, 3, frame, target, 20), 100);
});

test('an opened frame is owned memory: a slice of it is a copy', () => {
  for (const compression of COMPRESSIONS) {
    const seal = sealOf();
    const frame = sealed(seal, repetitive(128), compression);
    const plain = openFrame(seal, FrameKind.data, 3, frame, 128);
    plain.slice(0, 8).fill(255);
    assert.deepEqual(plain, repetitive(128));
  }
});

test('a tag covers every bit of what stays in clear', () => {
  const clear = repetitive(48);
  const tag = new Uint8Array(16);
  const seal = sealOf();
  authenticate(seal, FrameKind.footer, 0, clear, tag);
  verifyAuthentic(seal, FrameKind.footer, 0, clear, tag);
  for (const bytes of [clear, tag]) {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => verifyAuthentic(seal, FrameKind.footer, 0, clear, tag), isCorrupt);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
  const shorter = tag.subarray(0, 12);
  assert.throws(() => verifyAuthentic(seal, FrameKind.footer, 0, clear, shorter), isCorrupt);
  assert.throws(() => verifyAuthentic(seal, FrameKind.footer, 1, clear, tag), isCorrupt);
  assert.throws(() => verifyAuthentic(sealOf('x'), FrameKind.footer, 0, clear, tag), isCorrupt);
});

test('an authentic frame whose stated length is not its own is corrupt all the same', () => {
  const seal = sealOf();
  const forge = (header: readonly number[], text: Uint8Array): Uint8Array => {
    const nonce = Uint8Array.from([1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    const associated = Uint8Array.from([...seal.associated, ...nonce, ...header]);
    const frame = new Uint8Array(4 + text.length + 16);
    frame.set(header, 0);
    aeadSeal({ cipher: seal.cipher, key: seal.key, nonce, associated }, text, frame, 4);
    return frame;
  };
  const right = forge([0, 12, 0, 0], new Uint8Array(12));
  assert.equal(openFrame(seal, FrameKind.data, 3, right, 100).length, 12);
  // Stated too short, too long, and "compressed" to the same length.
  for (const header of [
    [0, 11, 0, 0],
    [0, 13, 0, 0],
    [1, 12, 0, 0],
    [2, 99, 0, 0],
    [9, 12, 0, 0],
  ]) {
    const frame = forge(header, new Uint8Array(12));
    assert.throws(() => openFrame(seal, FrameKind.data, 3, frame, 100), isCorrupt);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import lz4 from 'lz4-napi';
import { createSeededRng } from '../base/rng.ts';
import { compress, decompress } from './compression.ts';

const FORMATS = ['lz4', 'zstd'] as const;

function packed(format: 'lz4' | 'zstd', plain: Uint8Array): Uint8Array {
  return format === 'lz4' ? lz4.compressSync(Buffer.from(plain)) : zstdCompressSync(plain);
}

test('what was compressed comes back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(3000), (unit, times) => {
      const plain = Buffer.concat(Array.from({ length: Math.min(times, 500) }, () => unit));
      for (const format of FORMATS) {
        const small = compress(format, plain);
        if (small === undefined) continue;
        assert.ok(small.length <= plain.length - (plain.length >>> 4));
        assert.deepEqual(Buffer.from(decompress(format, small, plain.length)!), plain);
      }
    }),
    { numRuns: 100 },
  );
});

test('a text of another length than stated is refused, longer or shorter', () => {
  for (const format of FORMATS) {
    const small = packed(format, new Uint8Array(5000));
    for (const length of [0, 1, 4999, 5001, 100_000]) {
      assert.equal(decompress(format, small, length), undefined);
    }
    assert.equal(decompress(format, small, 5000)?.length, 5000);
  }
  // The length in front of an LZ4 block can claim more than the block holds.
  const lying = Uint8Array.from(packed('lz4', new Uint8Array(5000)));
  new DataView(lying.buffer).setUint32(0, 5001, true);
  assert.equal(decompress('lz4', lying, 5001), undefined);
});

test('truncated and random input is refused without a throw', () => {
  for (const format of FORMATS) {
    const small = packed(
      format,
      Uint8Array.from({ length: 500 }, (_, i) => i % 29),
    );
    for (let length = 0; length < small.length; length++) {
      assert.equal(decompress(format, small.subarray(0, length), 500), undefined);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const plain = decompress(format, bytes, 500);
        assert.ok(plain === undefined || plain.length === 500);
      }),
    );
  }
});

test('a large input that shrinks only in places is compressed if a probe sees one of them', () => {
  const plain = createSeededRng(5).bytes(65_536);
  assert.equal(compress('lz4', plain), undefined);
  plain.fill(7, 30_000, 60_000);
  assert.ok(compress('lz4', plain)!.length < 40_000);
});

import { test } from 'node:test';
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { isStorageError } from '../../base/errors.ts';
import { Filter, FilterBuilder, hashKey } from './bloom.ts';
import { chunkLikeKey, frozenClock } from './testing.ts';

function hashOf(key: Uint8Array): { line: number; bits: number } {
  return hashKey(key, { line: 0, bits: 0 });
}

async function build(keys: readonly Uint8Array[], bitsPerKey: number): Promise<Filter> {
  const builder = new FilterBuilder(bitsPerKey);
  for (const key of keys) builder.add(key);
  const bytes = await builder.finish(frozenClock);
  return new Filter(bytes, 'test');
}

test('a filter lets through every key that it was built of', async () => {
  const keys = fc.array(fc.uint8Array({ maxLength: 24 }), { maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(keys, fc.integer({ min: 0, max: 30 }), async (list, bitsPerKey) => {
      const filter = await build(list, bitsPerKey);
      for (const key of list) ok(filter.mayContain(hashOf(key)));
    }),
  );
});

test('ten bits per key let through one foreign key in a hundred, neighbours too', async () => {
  for (const stride of [1, 2, 256]) {
    const keys = Array.from({ length: 40_000 }, (_, i) => chunkLikeKey(7, i * stride * 2));
    const filter = await build(keys, 10);
    let passed = 0;
    for (let i = 0; i < 20_000; i++) {
      if (filter.mayContain(hashOf(chunkLikeKey(7, i * stride * 2 + 1)))) passed += 1;
    }
    ok(passed / 20_000 < 0.015, `stride ${stride}: ${passed / 200} %`);
  }
});

test('a filter of no bits lets everything through', async () => {
  const filter = await build([chunkLikeKey(1, 1)], 0);
  equal(filter.mayContain(hashOf(chunkLikeKey(2, 2))), true);
});

test('the hash is part of the format: it never changes', () => {
  deepEqual(hashOf(new Uint8Array(0)), { line: 4097764448, bits: 2537233248 });
  deepEqual(hashOf(chunkLikeKey(1, 2)), { line: 3030169249, bits: 2034429605 });
  deepEqual(hashOf(Uint8Array.of(1, 2, 3, 4, 255)), { line: 2654607616, bits: 1049799290 });
});

test('every bit of a key, and its length, changes both halves of the hash', () => {
  const base = chunkLikeKey(5, 9);
  const before = hashOf(base);
  for (let bit = 0; bit < base.length * 8; bit++) {
    const key = new Uint8Array(base);
    key[bit >>> 3]! ^= 1 << (bit & 7);
    const after = hashOf(key);
    ok(after.line !== before.line && after.bits !== before.bits, `bit ${bit}`);
  }
  for (let length = 0; length < 9; length++) {
    const shorter = hashOf(new Uint8Array(length));
    const longer = hashOf(new Uint8Array(length + 1));
    ok(shorter.line !== longer.line && shorter.bits !== longer.bits, `length ${length}`);
  }
});

test('bytes that are no filter are corrupt', () => {
  throws(() => new Filter(new Uint8Array(0), 'test'), { kind: 'corrupt' });
  throws(() => new Filter(Uint8Array.of(1), 'test'), { kind: 'corrupt' });
  throws(() => new Filter(new Uint8Array(65), 'test'), { kind: 'corrupt' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new Filter(bytes, 'test').mayContain(hashOf(bytes));
      } catch (error) {
        if (!isStorageError(error, 'corrupt')) throw error;
      }
    }),
  );
});

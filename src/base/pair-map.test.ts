import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from './assert.ts';
import { hashPair, PairMap } from './pair-map.ts';

const KEY_MAX = Number.MAX_SAFE_INTEGER;
const VALUE_MAX = 2 ** 31 - 1;

type Step = readonly ['set' | 'delete' | 'get', number, number, number];

// Few distinct keys, at both ends of the range, so that steps meet the same pair again and again.
const key = fc.oneof(
  fc.integer({ min: 0, max: 12 }),
  fc.integer({ min: 0, max: 3 }).map((distance) => KEY_MAX - distance),
  fc.integer({ min: 0, max: 3 }).map((count) => count * 2 ** 32),
);
const value = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constant(VALUE_MAX));
const step = fc.tuple(
  fc.constantFrom('set', 'delete', 'get'),
  key,
  key,
  value,
) as fc.Arbitrary<Step>;

function contents(map: PairMap): Map<string, number> {
  const found = new Map<string, number>();
  map.forEach((high, low, stored) => {
    assert.equal(found.has(`${high}/${low}`), false, 'forEach visits an entry once');
    found.set(`${high}/${low}`, stored);
  });
  return found;
}

test('PairMap behaves as a Map does, whatever the order of changes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.nat(40), (steps, hint) => {
      const map = new PairMap(hint);
      const model = new Map<string, number>();
      for (const [kind, high, low, wanted] of steps) {
        const name = `${high}/${low}`;
        if (kind === 'set') {
          map.set(high, low, wanted);
          model.set(name, wanted);
        } else if (kind === 'delete') {
          assert.equal(map.delete(high, low), model.delete(name));
        }
        assert.equal(map.get(high, low), model.get(name) ?? -1);
        assert.equal(map.has(high, low), model.has(name));
        assert.equal(map.size, model.size);
      }
      assert.deepEqual(contents(map), model);
    }),
    { numRuns: 300 },
  );
});

test('PairMap keeps runs whole while entries that collide come and go', () => {
  // Keys whose homes lie at the last and first entries of a 64-entry table: runs cross its end.
  const crowded: number[] = [];
  for (let low = 0; crowded.length < 24; low++) {
    const home = hashPair(1, low) & 63;
    if (home >= 60 || home < 3) crowded.push(low);
  }
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(23)), { maxLength: 200 }), (steps) => {
      const map = new PairMap(38);
      const model = new Map<string, number>();
      for (const [add, index] of steps) {
        const low = crowded[index]!;
        if (add) {
          map.set(1, low, index);
          model.set(`1/${low}`, index);
        } else {
          assert.equal(map.delete(1, low), model.delete(`1/${low}`));
        }
        for (const [at, other] of crowded.entries()) {
          assert.equal(map.get(1, other), model.has(`1/${other}`) ? at : -1);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('PairMap does not grow when its hint holds, and not while entries are replaced', () => {
  const map = new PairMap(1000);
  const before = map.memoryBytes;
  for (let round = 0; round < 5; round++) {
    for (let low = 0; low < 1000; low++) map.set(round, low, low);
    assert.equal(map.size, 1000);
    for (let low = 0; low < 1000; low++) assert.equal(map.delete(round, low), true);
  }
  assert.equal(map.memoryBytes, before);
  assert.equal(map.size, 0);
});

test('PairMap keeps what it holds while it grows, and forgets it on clear', () => {
  const map = new PairMap();
  const before = map.memoryBytes;
  for (let index = 0; index < 20_000; index++) map.set(index % 7, index, index);
  for (let index = 0; index < 20_000; index++) assert.equal(map.get(index % 7, index), index);
  assert.ok(map.memoryBytes > before);
  map.clear();
  assert.equal(map.size, 0);
  assert.equal(map.memoryBytes, before);
  assert.equal(map.get(0, 0), -1);
  map.set(1, 2, 3);
  assert.deepEqual(contents(map), new Map([['1/2', 3]]));
});

test('PairMap refuses keys and values that it cannot hold', () => {
  const map = new PairMap();
  for (const bad of [-1, 0.5, NaN, 2 ** 53]) {
    assert.throws(() => map.set(bad, 0, 0), AssertionError);
    assert.throws(() => map.set(0, bad, 0), AssertionError);
  }
  for (const bad of [-1, 0.5, NaN, 2 ** 31]) {
    assert.throws(() => map.set(0, 0, bad), AssertionError);
  }
  assert.equal(map.size, 0);
});

test('hashPair scatters keys that count up, by one or by a power of two', () => {
  const buckets = 1024;
  const keys = 8 * buckets;
  const patterns: [string, (index: number) => [number, number]][] = [
    ['low', (index) => [7, index]],
    ['high', (index) => [index, 7]],
    ['both', (index) => [index >> 6, index & 63]],
    ['low in steps of 4096', (index) => [1, index * 4096]],
    ['low in steps of 2^32', (index) => [1, index * 2 ** 32]],
    ['high in steps of 2^32', (index) => [index * 2 ** 32, 0]],
    ['diagonal', (index) => [index, index]],
  ];
  for (const [name, pattern] of patterns) {
    const counts = new Uint32Array(buckets);
    for (let index = 0; index < keys; index++) {
      const [high, low] = pattern(index);
      counts[hashPair(high, low) & (buckets - 1)]! += 1;
    }
    // Chance puts 8 ± 2.8 keys in a bucket; 32 in one would take a pattern.
    assert.ok(Math.max(...counts) < 32, `${name}: ${Math.max(...counts)} keys in one bucket`);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutFor } from './layout.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

test('slabs fit the budget, use most of it, and stay within 32-bit offsets and ids', () => {
  const budgets = [2 * MIB, 3 * MIB, 64 * MIB, 100 * MIB, GIB, 5 * GIB, 100 * GIB];
  for (const budget of [...budgets, 1000 * GIB, 7000 * GIB]) {
    const { slabBytes, slabCount, entriesMax } = layoutFor(budget);
    assert.ok(slabBytes * slabCount <= budget);
    assert.ok(slabBytes * slabCount > budget * 0.8, `${budget} is used`);
    assert.ok(slabCount >= 8 && slabCount <= 4096);
    assert.ok(slabBytes <= 2 ** 31 && slabCount * entriesMax < 2 ** 31);
    assert.equal(Number.isInteger(Math.log2(entriesMax)), true);
  }
});

test('the usual sizes', () => {
  const sizes = (budget: number): number[] => {
    const { slabBytes, slabCount, probationSlabs } = layoutFor(budget);
    return [slabBytes / MIB, slabCount, probationSlabs];
  };
  assert.deepEqual(sizes(64 * MIB), [1, 64, 13]);
  assert.deepEqual(sizes(GIB), [16, 64, 13]);
  assert.deepEqual(sizes(100 * GIB), [64, 1600, 320]);
  assert.deepEqual(sizes(1024 * GIB), [512, 2048, 410]);
  assert.equal(layoutFor(MIB).slabCount, 0);
  assert.equal(layoutFor(0).slabCount, 0);
});

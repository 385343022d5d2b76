import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockCache } from './block-cache.ts';
import { CACHE_BLOCK_BYTES } from './slot-memory.ts';
import { SLOT_OVERHEAD_BYTES, splitCacheBudget } from './budget.ts';

const MIB = 1024 * 1024;

test('no share is negative, and all of them with the tables of the cache fit the budget', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 2 ** 40, noNaN: true }), (total) => {
      const split = splitCacheBudget(total);
      for (const share of Object.values(split))
        assert.ok(Number.isSafeInteger(share) && share >= 0);
      const slots = split.blocksMax / CACHE_BLOCK_BYTES;
      assert.ok(split.blocksMax + slots * SLOT_OVERHEAD_BYTES <= total);
      const others = split.maps + split.frameTables + split.tableBlocks;
      assert.ok(split.blocks + others + slots * SLOT_OVERHEAD_BYTES <= Math.max(total, others));
      assert.ok(split.blocks >= Math.floor(total * 0.47) - 2 * CACHE_BLOCK_BYTES);
    }),
  );
});

test('the tables of a cache take no more than they are counted for, whatever its size', () => {
  for (const slots of [1, 17, 1000, 4096, 9830, 9831, 39_321, 39_322, 60_000]) {
    const cache = new BlockCache({ budgetBytes: slots * CACHE_BLOCK_BYTES });
    const { overheadBytes } = cache.stats();
    // The smallest tables do not get smaller.
    assert.ok(overheadBytes <= Math.max(1024, slots * SLOT_OVERHEAD_BYTES), `${slots} slots`);
  }
});

test('a larger budget leaves no share smaller, and gives most of what it adds to blocks', () => {
  let before = splitCacheBudget(0);
  for (let total = MIB; total <= 4096 * MIB; total *= 2) {
    const split = splitCacheBudget(total);
    for (const key of ['blocks', 'blocksMax', 'maps', 'frameTables', 'tableBlocks'] as const) {
      assert.ok(split[key] > before[key]);
    }
    before = split;
  }
  const large = splitCacheBudget(4096 * MIB);
  assert.ok(large.blocks > 0.7 * 4096 * MIB);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNewStores } from './new-stores.ts';
import { runSeeds } from './run-seeds.ts';
import { runSeed } from './scenario.ts';
import { KEPT_SEEDS } from './seeds.ts';

test('seeds 1 to 60 pass', async () => {
  assert.deepEqual(await runSeeds({ from: 1, to: 60 }, { workers: 2 }), {
    passed: 60,
    failure: undefined,
  });
});

test('two runs of one seed are identical, and another seed is another run', async () => {
  const first: string[] = [];
  const second: string[] = [];
  const { traceHash } = await runSeed(11, createNewStores(), (line) => first.push(line));
  const stores = createNewStores();
  // What ran before in the same program must not matter.
  const other = await runSeed(12, stores);
  const again = await runSeed(11, stores, (line) => second.push(line));
  assert.deepEqual(second, first);
  assert.equal(again.traceHash, traceHash);
  assert.notEqual(other.traceHash, traceHash);
  assert.ok(first.length > 100, 'a trace says what happened');
});

test('seeds that once found a bug pass', async () => {
  const stores = createNewStores();
  for (const { seed } of KEPT_SEEDS) assert.equal((await runSeed(seed, stores)).seed, seed);
});

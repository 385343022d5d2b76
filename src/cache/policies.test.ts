// What the replacement policy promises, beside the published policies on the same seeded traces.
// policies.bench.ts has the same at full size, and more traces.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lirs, TinyLfu } from './reference-frequency.ts';
import {
  Arc,
  type CreateReferencePolicy,
  Lru,
  SeamPolicy,
  Sieve,
  TwoQueue,
} from './reference-policies.ts';
import { S3Fifo } from './s3-fifo.ts';
import { beladyRatio, hitRatio, loopTrace, type Trace, zipfTrace } from './testing-traces.ts';

const BLOCKS = 60_000;
const CAPACITY = BLOCKS / 10;
const FRAME = 16;

const ours: CreateReferencePolicy = (capacity, keyCount) =>
  new SeamPolicy((slotCount) => new S3Fifo(slotCount), capacity, keyCount);
const published: Record<string, CreateReferencePolicy> = {
  LRU: (capacity, keyCount) => new Lru(capacity, keyCount),
  '2Q': (capacity, keyCount) => new TwoQueue(capacity, keyCount),
  ARC: (capacity, keyCount) => new Arc(capacity, keyCount),
  LIRS: (capacity, keyCount) => new Lirs(capacity, keyCount),
  'W-TinyLFU': (capacity, keyCount) => new TinyLfu(capacity, keyCount),
  SIEVE: (capacity, keyCount) => new Sieve(capacity, keyCount),
};

const zipf = {
  seed: 11,
  blocks: BLOCKS,
  exponent: 0.99,
  warmReads: BLOCKS * 3,
  reads: BLOCKS,
} as const;

function points(trace: Trace, create: CreateReferencePolicy, frameBlocks = 1): number {
  return 100 * hitRatio(trace, create(CAPACITY, trace.keyCount), frameBlocks);
}

test('zipf reads: within 3 points of the best published policy, whatever the frames bring', () => {
  const trace = zipfTrace('zipf', zipf);
  const ratios = Object.values(published).map((create) => points(trace, create));
  const best = Math.max(...ratios);
  const bound = 100 * beladyRatio(trace, CAPACITY);
  assert.ok(best < bound, 'nobody beats the one who knows the future');
  for (const frameBlocks of [1, FRAME]) {
    const own = points(trace, ours, frameBlocks);
    assert.ok(
      own >= best - 1,
      `${own} in frames of ${frameBlocks}, the best of others has ${best}`,
    );
  }
});

test('a full scan beside zipf reads costs them 5 points at most, fetched ahead or not', () => {
  const alone = zipfTrace('zipf', zipf);
  for (const scan of ['plain', 'ahead'] as const) {
    const beside = zipfTrace('zipf and scan', { ...zipf, scan });
    for (const frameBlocks of [1, FRAME]) {
      const cost = points(alone, ours, frameBlocks) - points(beside, ours, frameBlocks);
      assert.ok(cost <= 2, `a ${scan} scan in frames of ${frameBlocks} costs ${cost} points`);
    }
    const costOfLru = points(alone, published['LRU']!) - points(beside, published['LRU']!);
    assert.ok(costOfLru > 5, 'the scan is one that hurts a policy without a defence');
  }
});

test('the simulated policies do what is known of them', () => {
  const loop = loopTrace('loop', Math.floor(CAPACITY * 1.1), 6);
  assert.equal(points(loop, published['LRU']!), 0);
  assert.ok(points(loop, published['LIRS']!) > 85);
  assert.ok(points(loop, published['W-TinyLFU']!) > 85);
  const small = loopTrace('loop that fits', CAPACITY - 200, 4);
  for (const [name, create] of Object.entries(published)) {
    // The queue that new keys pass through is all of 2Q that is not read in a loop.
    const least = name === '2Q' ? 60 : 99;
    assert.ok(points(small, create) >= least, name);
  }
  // Who keeps three of a loop of four, and never the fourth, hits three times of four.
  const exact = loopTrace('loop of four', 4, 50);
  assert.equal(beladyRatio(exact, 3), 0.75);
});

// Our replacement policy beside the published ones, on the same seeded traces: hit ratios in
// percent. Belady's MIN knows the future; it is there to show how much there is to gain.
// Run: node src/cache/policies.bench.ts [million blocks]

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
import {
  beladyRatio,
  hitRatio,
  loopTrace,
  mixedTrace,
  type Trace,
  zipfTrace,
} from './testing-traces.ts';

const BLOCKS = Number(process.argv[2] ?? 1) * 2 ** 20;
const CAPACITY = Math.floor(BLOCKS / 10);

const policies: Record<string, CreateReferencePolicy> = {
  ours: (capacity, keyCount) => new SeamPolicy((slots) => new S3Fifo(slots), capacity, keyCount),
  LRU: (capacity, keyCount) => new Lru(capacity, keyCount),
  '2Q': (capacity, keyCount) => new TwoQueue(capacity, keyCount),
  ARC: (capacity, keyCount) => new Arc(capacity, keyCount),
  LIRS: (capacity, keyCount) => new Lirs(capacity, keyCount),
  'W-TinyLFU': (capacity, keyCount) => new TinyLfu(capacity, keyCount),
  SIEVE: (capacity, keyCount) => new Sieve(capacity, keyCount),
};

const zipf = { seed: 1, blocks: BLOCKS, exponent: 0.99, warmReads: BLOCKS * 2, reads: BLOCKS };

/** Blocks of the default frame: what one cold read brings. */
const FRAME = 16;

/** Made one at a time: a trace of millions of reads is tens of megabytes. */
const rowsOf: readonly { readonly create: () => Trace; readonly frameBlocks?: number }[] = [
  { create: () => zipfTrace('zipf 0.99', zipf) },
  { create: () => zipfTrace('+ a full scan, no read-ahead', { ...zipf, scan: 'plain' }) },
  { create: () => zipfTrace('+ a full scan with read-ahead', { ...zipf, scan: 'ahead' }) },
  { create: () => zipfTrace('zipf 0.99, frames of 16', zipf), frameBlocks: FRAME },
  {
    create: () => zipfTrace('+ a full scan, frames of 16', { ...zipf, scan: 'ahead' }),
    frameBlocks: FRAME,
  },
  { create: () => zipfTrace('zipf 0.8', { ...zipf, exponent: 0.8 }) },
  {
    create: () =>
      zipfTrace('zipf 0.99, hot set moves', { ...zipf, shiftEvery: Math.floor(BLOCKS / 2) }),
  },
  { create: () => loopTrace('loop over 1.1 × the cache', Math.floor(CAPACITY * 1.1), 10) },
  { create: () => mixedTrace('zipf, recent blocks, runs', 2, BLOCKS, BLOCKS * 2) },
  {
    create: () => mixedTrace('the same, frames of 16', 2, BLOCKS, BLOCKS * 2),
    frameBlocks: FRAME,
  },
];

const percent = (ratio: number): string => (ratio * 100).toFixed(1);
const nanoseconds = new Map<string, number>();
const rows = rowsOf.map(({ create, frameBlocks = 1 }, index) => {
  const trace = create();
  const row: Record<string, string> = { trace: trace.name };
  for (const [name, createPolicy] of Object.entries(policies)) {
    const policy = createPolicy(CAPACITY, trace.keyCount);
    const start = performance.now();
    row[name] = percent(hitRatio(trace, policy, frameBlocks));
    const each = ((performance.now() - start) / trace.keys.length) * 1e6;
    if (index === 0) nanoseconds.set(name, each);
  }
  // What comes along with a frame is not in its books: there it is no bound.
  row['MIN'] = frameBlocks === 1 ? percent(beladyRatio(trace, CAPACITY)) : '';
  return row;
});
console.log(`Hits in percent: ${BLOCKS} blocks of data, ${CAPACITY} of cache`);
console.table(rows);
const costs = [...nanoseconds].map(([name, each]) => [name, each.toFixed(0)]);
console.log('Nanoseconds for each read of the first trace, policy and bookkeeping of keys only:');
console.table([Object.fromEntries(costs)]);
const perSlot = new S3Fifo(CAPACITY).memoryBytes / CAPACITY;
console.log(`Ours takes ${perSlot.toFixed(1)} bytes a slot, beside the index of the cache.`);

// What a hit costs, and how many reads hit: S3-FIFO beside plain LRU on the same cache.
// Run: node src/cache/block-cache.bench.ts

import type { Rng } from '../base/rng.ts';
import { createSeededRng } from '../base/rng.ts';
import { BlockCache, CACHE_BLOCK_BYTES } from './block-cache.ts';
import type { CreateEvictionPolicy, EvictionPolicy } from './eviction-policy.ts';
import { S3Fifo } from './s3-fifo.ts';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

const BLOCKS_PER_SEGMENT = 2048;
const content = new Uint8Array(CACHE_BLOCK_BYTES);

class Lru implements EvictionPolicy {
  readonly #links: SlotLinks;
  readonly #queue: SlotQueue;

  constructor(slotCount: number) {
    this.#links = new SlotLinks(slotCount);
    this.#queue = new SlotQueue(this.#links);
  }

  get memoryBytes(): number {
    return this.#links.memoryBytes;
  }

  admit(slot: number): void {
    this.#queue.push(slot);
  }

  touch(slot: number): void {
    this.#queue.remove(slot);
    this.#queue.push(slot);
  }

  remove(slot: number): void {
    this.#queue.remove(slot);
  }

  evict(): number {
    return this.#queue.shift();
  }
}

const policies: Record<string, CreateEvictionPolicy> = {
  'S3-FIFO': (slotCount) => new S3Fifo(slotCount),
  LRU: (slotCount) => new Lru(slotCount),
};

/** Draws ranks of a Zipf distribution, scattered over the blocks: neighbours are strangers. */
function createZipf(rng: Rng, blocks: number, exponent: number): () => number {
  const cumulative = new Float64Array(blocks);
  let sum = 0;
  for (let rank = 0; rank < blocks; rank++) {
    sum += (rank + 1) ** -exponent;
    cumulative[rank] = sum;
  }
  return () => {
    const wanted = rng.float() * sum;
    let low = 0;
    let high = blocks - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return (low * 7919) % blocks;
  };
}

function read(cache: BlockCache, number: number): void {
  const segment = Math.floor(number / BLOCKS_PER_SEGMENT);
  const block = number % BLOCKS_PER_SEGMENT;
  if (cache.find(segment, block) < 0) cache.insert(segment, block, content, 0);
}

function prefetch(cache: BlockCache, first: number, count: number): void {
  for (let number = first; number < first + count; number++) {
    const segment = Math.floor(number / BLOCKS_PER_SEGMENT);
    cache.insert(segment, number % BLOCKS_PER_SEGMENT, content, 0);
  }
}

interface Workload {
  readonly name: string;
  /** Runs warm-up and reads; returns the share of reads that hit. */
  run(cache: BlockCache): number;
}

const BLOCKS = 100_000;

function zipfWorkload(exponent: number): Workload {
  return {
    name: `zipf ${exponent}, no scan`,
    run(cache) {
      const next = createZipf(createSeededRng(1), BLOCKS, exponent);
      for (let count = 0; count < 200_000; count++) read(cache, next());
      const { hits } = cache.stats();
      for (let count = 0; count < 200_000; count++) read(cache, next());
      return (cache.stats().hits - hits) / 200_000;
    },
  };
}

/** A point reader beside a scan that read-ahead runs in front of: a backup beside a database. */
function scanWorkload(scanPerRead: number): Workload {
  const ahead = 256;
  return {
    name: `zipf 0.9 + scan ${scanPerRead}:1`,
    run(cache) {
      const next = createZipf(createSeededRng(2), BLOCKS, 0.9);
      const scanStart = BLOCKS_PER_SEGMENT * 1000;
      let scanned = 0;
      let hits = 0;
      for (let count = 0; count < 400_000; count++) {
        const before = cache.stats().hits;
        read(cache, next());
        if (count >= 200_000) hits += cache.stats().hits - before;
        for (let i = 0; i < scanPerRead; i++) {
          const number = scanStart + scanned++;
          if (number % ahead === 0) prefetch(cache, number, ahead);
          read(cache, number);
        }
      }
      return hits / 200_000;
    },
  };
}

/** The hot set moves every so often: a policy must also forget. */
const driftWorkload: Workload = {
  name: 'zipf 0.9, hot set moves',
  run(cache) {
    const next = createZipf(createSeededRng(3), BLOCKS, 0.9);
    for (let count = 0; count < 400_000; count++) {
      read(cache, (next() + Math.floor(count / 50_000) * 20_011) % BLOCKS);
    }
    return cache.stats().hits / 400_000;
  },
};

/** Cycles over slightly more than fits: the classic worst case of LRU. */
const loopWorkload: Workload = {
  name: 'loop over 1.2 × the cache',
  run(cache) {
    const blocks = Math.floor((cache.stats().budgetBytes / CACHE_BLOCK_BYTES) * 1.2);
    for (let count = 0; count < blocks * 8; count++) read(cache, count % blocks);
    return cache.stats().hits / (blocks * 8);
  },
};

function measureRatios(): void {
  const workloads = [
    zipfWorkload(0.7),
    zipfWorkload(0.9),
    zipfWorkload(1.1),
    scanWorkload(1),
    scanWorkload(4),
    driftWorkload,
    loopWorkload,
  ];
  const rows = workloads.map((workload) => {
    const row: Record<string, string> = { workload: workload.name };
    for (const [name, createPolicy] of Object.entries(policies)) {
      const cache = new BlockCache({ budgetBytes: 10_000 * CACHE_BLOCK_BYTES }, createPolicy);
      row[name] = `${(workload.run(cache) * 100).toFixed(1)} %`;
    }
    return row;
  });
  console.log(`Hit ratios: 10,000 blocks of cache, ${BLOCKS} blocks of data`);
  console.table(rows);
}

function measureCosts(blocks: number): Record<string, string> {
  const cache = new BlockCache({ budgetBytes: blocks * CACHE_BLOCK_BYTES });
  const rng = createSeededRng(5);
  const numbers = Float64Array.from({ length: 200_000 }, () => Math.floor(rng.float() * blocks));
  const target = new Uint8Array(1 << 20);
  const each = (count: number, work: (index: number) => void): string => {
    const start = performance.now();
    for (let index = 0; index < count; index++) work(index);
    return `${(((performance.now() - start) / count) * 1e6).toFixed(0)} ns`;
  };
  const segment = (number: number): number => Math.floor(number / BLOCKS_PER_SEGMENT);
  const fill = each(blocks, (i) => cache.insert(segment(i), i % BLOCKS_PER_SEGMENT, content, 0));
  const hit = (i: number): void => {
    const number = numbers[i]!;
    cache.copyOut(segment(number), number % BLOCKS_PER_SEGMENT, target, (i & 255) << 12);
  };
  each(numbers.length, hit);
  const hitAndCopy = each(numbers.length, hit);
  const findOnly = each(numbers.length, (i) => {
    cache.find(segment(numbers[i]!), numbers[i]! % BLOCKS_PER_SEGMENT);
  });
  const miss = each(numbers.length, (i) => cache.find(1e9, i));
  const insertEvict = each(blocks, (i) => cache.insert(1e6, i, content, 0));
  const { overheadBytes } = cache.stats();
  const overhead = `${(overheadBytes / blocks).toFixed(0)} B a block`;
  return { blocks: String(blocks), fill, hitAndCopy, findOnly, miss, insertEvict, overhead };
}

measureRatios();
console.table([measureCosts(1024), measureCosts(65_536)]);

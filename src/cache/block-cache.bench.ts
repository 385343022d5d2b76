// What the cache costs per block. How often it hits: policies.bench.ts.
// Run: node src/cache/block-cache.bench.ts

import { createSeededRng } from '../base/rng.ts';
import { BlockCache } from './block-cache.ts';
import { CACHE_BLOCK_BYTES } from './slot-memory.ts';

const BLOCKS_PER_SEGMENT = 2048;
const content = new Uint8Array(CACHE_BLOCK_BYTES);

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
  const markRead = each(numbers.length, (i) => {
    cache.markRead(segment(numbers[i]!), numbers[i]! % BLOCKS_PER_SEGMENT);
  });
  const insertEvict = each(blocks, (i) => cache.insert(1e6, i, content, 0));
  const along = each(blocks, (i) => cache.insertAlong(1e7, i, 1, content, 0));
  const { overheadBytes } = cache.stats();
  const overhead = `${(overheadBytes / blocks).toFixed(0)} B a block`;
  return {
    blocks: String(blocks),
    fill,
    hitAndCopy,
    findOnly,
    miss,
    markRead,
    insertEvict,
    along,
    overhead,
  };
}

console.table([1024, 65_536, 262_144].map(measureCosts));

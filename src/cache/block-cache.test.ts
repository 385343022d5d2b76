import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../base/assert.ts';
import { createSeededRng } from '../base/rng.ts';
import { BlockCache } from './block-cache.ts';
import { CACHE_BLOCK_BYTES } from './slot-memory.ts';

/** Content that names its key, so that a wrong block shows. */
function blockOf(segment: number, block: number): Uint8Array {
  const bytes = new Uint8Array(CACHE_BLOCK_BYTES).fill((segment * 31 + block) % 251);
  const view = new DataView(bytes.buffer);
  for (const at of [0, CACHE_BLOCK_BYTES - 16]) {
    view.setFloat64(at, segment);
    view.setFloat64(at + 8, block);
  }
  return bytes;
}

function cacheOf(blocks: number): BlockCache {
  return new BlockCache({ budgetBytes: blocks * CACHE_BLOCK_BYTES });
}

test('a cache holds what was inserted, never more than its budget, never another block', () => {
  const key = fc.tuple(fc.constantFrom(0, 1, 2 ** 40), fc.nat(9));
  const steps = fc.array(fc.tuple(fc.constantFrom('insert', 'read', 'forget'), key), {
    maxLength: 150,
  });
  fc.assert(
    fc.property(steps, fc.nat(12), (moves, blocks) => {
      const cache = cacheOf(blocks);
      const inserted = new Set<string>();
      const target = new Uint8Array(CACHE_BLOCK_BYTES + 8);
      for (const [kind, [segment, block]] of moves) {
        const name = `${segment}/${block}`;
        const held = cache.has(segment, block);
        if (kind === 'insert') {
          cache.insert(segment, block, blockOf(segment, block), 0);
          inserted.add(name);
          assert.equal(cache.has(segment, block), blocks > 0);
        } else if (kind === 'forget') {
          assert.equal(cache.forget(segment, block), held);
          inserted.delete(name);
          assert.equal(cache.has(segment, block), false);
        } else {
          assert.equal(cache.copyOut(segment, block, target, 8), held);
          if (held) assert.deepEqual(target.subarray(8), blockOf(segment, block));
        }
        if (held) assert.ok(kind === 'forget' || inserted.has(name));
        const { bytes, budgetBytes, inserts, evictions } = cache.stats();
        assert.ok(bytes <= budgetBytes);
        assert.ok(inserts >= evictions + bytes / CACHE_BLOCK_BYTES);
      }
      if (inserted.size <= blocks && cache.stats().evictions === 0) {
        assert.equal(cache.stats().bytes, inserted.size * CACHE_BLOCK_BYTES);
      }
    }),
  );
});

test('bytes come back whole across slabs, also from the short last one', () => {
  const blocks = 1024 + 3;
  const cache = new BlockCache({ budgetBytes: blocks * CACHE_BLOCK_BYTES + 100 });
  for (let block = 0; block < blocks; block++) cache.insert(5, block, blockOf(5, block), 0);
  const target = new Uint8Array(CACHE_BLOCK_BYTES);
  for (let block = 0; block < blocks; block++) {
    assert.equal(cache.copyOut(5, block, target, 0), true);
    assert.deepEqual(target, blockOf(5, block));
  }
  assert.equal(cache.stats().evictions, 0);
  cache.insert(6, 0, blockOf(6, 0), 0);
  assert.equal(cache.stats().evictions, 1);
  assert.equal(cache.stats().bytes, blocks * CACHE_BLOCK_BYTES);
});

test('a run is kept block by block, from wherever it lies in its source', () => {
  const cache = cacheOf(8);
  const source = new Uint8Array(100 + 3 * CACHE_BLOCK_BYTES);
  for (let index = 0; index < 3; index++) {
    source.set(blockOf(9, 40 + index), 100 + index * CACHE_BLOCK_BYTES);
  }
  cache.insertRun(9, 40, 3, source, 100);
  source.fill(0);
  const target = new Uint8Array(CACHE_BLOCK_BYTES);
  for (let block = 40; block < 43; block++) {
    assert.equal(cache.copyOut(9, block, target, 0), true);
    assert.deepEqual(target, blockOf(9, block));
  }
  cache.forgetRun(9, 41, 10);
  assert.deepEqual(
    [40, 41, 42].map((block) => cache.has(9, block)),
    [true, false, false],
  );
});

test('a part of a block is copied to its place and nowhere else', () => {
  const cache = cacheOf(1);
  const content = blockOf(1, 2);
  cache.insert(1, 2, content, 0);
  const slot = cache.find(1, 2);
  const target = new Uint8Array(20).fill(255);
  cache.copySlot(slot, target, 4, CACHE_BLOCK_BYTES - 12, CACHE_BLOCK_BYTES);
  assert.deepEqual(target.subarray(4, 16), content.subarray(-12));
  assert.deepEqual([...target.subarray(0, 4), ...target.subarray(16)], Array(8).fill(255));
  assert.throws(() => cache.copySlot(slot, target, 0, 0, CACHE_BLOCK_BYTES + 1), AssertionError);
  assert.throws(() => cache.copySlot(slot, target, 10, 0, 11), AssertionError);
});

test('the room of a dead block is used before anything is evicted', () => {
  const cache = cacheOf(4);
  for (let block = 0; block < 4; block++) cache.insert(1, block, blockOf(1, block), 0);
  assert.equal(cache.forget(1, 2), true);
  assert.equal(cache.forget(1, 2), false);
  cache.insert(2, 0, blockOf(2, 0), 0);
  assert.equal(cache.stats().evictions, 0);
  assert.deepEqual(
    [0, 1, 3].map((block) => cache.has(1, block)),
    [true, true, true],
  );
});

test('hits and misses are counted by reads alone', () => {
  const cache = cacheOf(2);
  cache.insert(1, 1, blockOf(1, 1), 0);
  cache.insert(1, 1, blockOf(1, 1), 0);
  cache.has(1, 1);
  cache.find(1, 1);
  cache.find(1, 2);
  cache.copyOut(1, 3, new Uint8Array(CACHE_BLOCK_BYTES), 0);
  const { hits, misses, inserts, bytes } = cache.stats();
  assert.deepEqual(
    { hits, misses, inserts, bytes },
    { hits: 1, misses: 2, inserts: 1, bytes: CACHE_BLOCK_BYTES },
  );
});

test('what came along with others leaves a full cache first, unless it is marked as read', () => {
  const cache = cacheOf(100);
  const source = new Uint8Array(16 * CACHE_BLOCK_BYTES);
  cache.insert(1, 3, source, 0);
  cache.insertAlong(1, 0, 16, source, 0);
  assert.equal(cache.stats().inserts, 16);
  cache.markRead(1, 5);
  cache.markRead(2, 5);
  // Of 84 fresh slots and 13 guests past their share, room for 97 others.
  for (let block = 0; block < 97; block++) cache.insert(9, block, source, 0);
  const kept = Array.from({ length: 16 }, (_, block) => block).filter((b) => cache.has(1, b));
  assert.deepEqual(kept, [3, 5, 15]);
  const { hits, misses } = cache.stats();
  assert.deepEqual({ hits, misses }, { hits: 0, misses: 0 });
});

test('a budget below one block makes a cache that always misses', () => {
  for (const budgetBytes of [0, CACHE_BLOCK_BYTES - 1]) {
    const cache = new BlockCache({ budgetBytes });
    cache.insertRun(1, 0, 2, new Uint8Array(2 * CACHE_BLOCK_BYTES), 0);
    assert.equal(cache.copyOut(1, 0, new Uint8Array(CACHE_BLOCK_BYTES), 0), false);
    cache.markRead(1, 0);
    assert.equal(cache.forget(1, 0), false);
    assert.equal(cache.stats().bytes, 0);
    assert.equal(cache.stats().misses, 1);
  }
});

test('a scan of ten times the cache leaves the working set where it is', () => {
  const blocks = 500;
  const cache = cacheOf(blocks);
  const rng = createSeededRng(3);
  const content = new Uint8Array(CACHE_BLOCK_BYTES);
  const read = (segment: number, block: number): void => {
    if (cache.find(segment, block) >= 0) return;
    cache.insert(segment, block, content, 0);
    cache.markRead(segment, block);
  };
  for (let count = 0; count < 4000; count++) read(1, Math.floor(rng.float() * 300));
  for (let block = 0; block < 10 * blocks; block++) {
    read(2, block);
    if (block % 4 === 0) read(1, Math.floor(rng.float() * 300));
  }
  let kept = 0;
  for (let block = 0; block < 300; block++) if (cache.has(1, block)) kept += 1;
  assert.ok(kept > 270, `${kept} of 300 blocks are left`);
});

/** Slots of one slab. */
const SLAB = 1024;

test('what others borrow is given up slab by slab, and taken back when they return enough', () => {
  const size = 4 * SLAB;
  let borrowedBlocks = 0;
  const cache = new BlockCache({
    budgetBytes: size * CACHE_BLOCK_BYTES,
    shared: {
      borrowedBytes: () => borrowedBlocks * CACHE_BLOCK_BYTES,
      keptBytes: 1500 * CACHE_BLOCK_BYTES,
    },
  });
  const source = new Uint8Array(CACHE_BLOCK_BYTES);
  let next = 0;
  const settle = (): number => {
    for (let count = 0; count < 2 * size; count++) cache.insert(1, next++, source, 0);
    const { bytes, budgetBytes, slabBytes } = cache.stats();
    assert.equal(bytes, budgetBytes);
    assert.equal(slabBytes, Math.ceil(bytes / CACHE_BLOCK_BYTES / SLAB) * SLAB * CACHE_BLOCK_BYTES);
    return bytes / CACHE_BLOCK_BYTES;
  };
  assert.equal(settle(), size);
  borrowedBlocks = 1;
  assert.equal(settle(), 3 * SLAB);
  borrowedBlocks = SLAB + 1;
  assert.equal(settle(), 2 * SLAB);
  borrowedBlocks = 5 * SLAB;
  assert.equal(settle(), 1500, 'so much is kept');
  borrowedBlocks = 2 * SLAB;
  assert.equal(settle(), 1500, 'one slab may be borrowed again soon');
  borrowedBlocks = 0;
  assert.equal(settle(), size);
});

test('a cache that others borrow from never holds too much, nor another block', () => {
  const size = 2 * SLAB;
  const step = fc.tuple(fc.nat(3000), fc.nat(SLAB * 3), fc.nat(2999));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let borrowed = 0;
      const cache = new BlockCache({
        budgetBytes: size * CACHE_BLOCK_BYTES,
        shared: { borrowedBytes: () => borrowed * CACHE_BLOCK_BYTES, keptBytes: 0 },
      });
      const source = new Uint8Array(CACHE_BLOCK_BYTES);
      const view = new DataView(source.buffer);
      const target = new Uint8Array(CACHE_BLOCK_BYTES);
      for (const [first, lent, forgotten] of steps) {
        borrowed = lent;
        const before = cache.stats().inserts;
        for (let block = first; block < first + 700; block++) {
          view.setFloat64(0, block);
          cache.insert(3, block, source, 0);
        }
        cache.forgetRun(3, forgotten, 50);
        const limit = Math.floor(Math.max(0, size - lent) / SLAB) * SLAB;
        const { bytes, budgetBytes, inserts } = cache.stats();
        assert.ok(bytes <= budgetBytes);
        // So many inserts take notice of what is borrowed.
        if (inserts - before >= 256) assert.ok(budgetBytes <= limit * CACHE_BLOCK_BYTES);
        let held = 0;
        for (let block = 0; block < 3700; block++) {
          if (!cache.copyOut(3, block, target, 0)) continue;
          held += 1;
          assert.equal(new DataView(target.buffer).getFloat64(0), block);
        }
        assert.equal(held * CACHE_BLOCK_BYTES, bytes);
      }
    }),
    { numRuns: 40 },
  );
});

test('slots that were free when lent are neither used nor taken for what they held', () => {
  let borrowed = 0;
  const cache = new BlockCache({
    budgetBytes: 2 * SLAB * CACHE_BLOCK_BYTES,
    shared: { borrowedBytes: () => borrowed, keptBytes: 0 },
  });
  const source = new Uint8Array(CACHE_BLOCK_BYTES);
  for (let block = 0; block < 2 * SLAB; block++) cache.insert(1, block, source, 0);
  // Block 1500 moves from the second slab to a free slot of the first; its old slot stays free, as
  // do more than are taken until what is borrowed is noticed.
  cache.forgetRun(1, 1300, 600);
  cache.forget(1, 10);
  cache.insert(1, 1500, source, 0);
  borrowed = 1;
  for (let block = 0; block < 256; block++) cache.insert(2, block, source, 0);
  assert.equal(cache.stats().budgetBytes, SLAB * CACHE_BLOCK_BYTES);
  assert.equal(cache.has(1, 1500), true);
  assert.equal(cache.has(1, 1200), false);
  for (let block = 0; block < SLAB; block++) cache.insert(3, block, source, 0);
  assert.equal(cache.stats().bytes, SLAB * CACHE_BLOCK_BYTES);
});

import { test } from 'node:test';
import { equal, notEqual, ok, rejects } from 'node:assert/strict';
import fc from 'fast-check';
import { BlockBuilder } from './block-builder.ts';
import { BlockCache } from './block-cache.ts';
import { Block } from './block.ts';

function block(bytes: number): Block {
  const builder = new BlockBuilder(bytes);
  builder.add(Uint8Array.of(1), new Uint8Array(bytes));
  return new Block(new Uint8Array(builder.finish()), 'test');
}

/** What one block of 1000 bytes is charged with, a little more. */
const EACH = 1300;

test('a block is found until the budget needs its place', () => {
  const cache = new BlockCache(EACH * 3);
  const slots = cache.slotsOf(1);
  for (let i = 0; i < 4; i++) slots.keepBlock(i, block(1000));
  equal(slots.block(0), undefined);
  for (let i = 1; i < 4; i++) ok(slots.block(i) !== undefined);
  equal(cache.stats().evictions, 1);
});

test('blocks that are read again outlive a scan of blocks that are read once', () => {
  const cache = new BlockCache(EACH * 10);
  const slots = cache.slotsOf(1);
  slots.keepBlock(0, block(1000));
  slots.keepBlock(1, block(1000));
  for (let i = 2; i < 200; i++) {
    ok(slots.block(0) !== undefined && slots.block(1) !== undefined, `at ${i}`);
    slots.keepBlock(i, block(1000));
  }
});

test('a block that is larger than the budget is not kept', () => {
  const cache = new BlockCache(100);
  cache.slotsOf(1).keepBlock(0, block(1000));
  equal(cache.slotsOf(1).block(0), undefined);
  equal(cache.bytes, 0);
});

test('loads of one block at one time are one load, and a failed one is tried again', async () => {
  const slots = new BlockCache(EACH).slotsOf(1);
  let loads = 0;
  const failing = async (): Promise<Block> => {
    loads += 1;
    throw new Error('no');
  };
  const both = [slots.loadBlock(0, failing), slots.loadBlock(0, failing)];
  for (const one of both) await rejects(one, /no/);
  equal(loads, 1);
  const wanted = block(10);
  equal(await slots.loadBlock(0, async () => wanted), wanted);
  equal(slots.block(0), wanted);
});

test('a load that ends after its table was dropped leaves nothing in the cache', async () => {
  const cache = new BlockCache(EACH * 4);
  const slots = cache.slotsOf(1);
  const loading = slots.loadBlock(0, async () => block(1000));
  cache.drop(1);
  await loading;
  equal(cache.bytes, 0);
  equal(slots.block(0), undefined);
  notEqual(cache.slotsOf(1), slots);
});

test('the bytes held always are those of the blocks that can be found, within the budget', () => {
  const step = fc.record({
    table: fc.nat({ max: 3 }),
    slot: fc.nat({ max: 8 }),
    bytes: fc.nat({ max: 2500 }),
    what: fc.constantFrom('keep', 'keep', 'keep', 'hit', 'hit', 'drop'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.nat({ max: 8000 }), (steps, budget) => {
      const cache = new BlockCache(budget);
      for (const { table, slot, bytes, what } of steps) {
        if (what === 'keep') cache.slotsOf(table).keepBlock(slot, block(bytes));
        else if (what === 'hit') cache.slotsOf(table).block(slot);
        else cache.drop(table);
        let held = 0;
        for (let t = 0; t < 4; t++) {
          for (let s = 0; s < 9; s++) {
            const found = cache.slotsOf(t).peekBlock(s);
            if (found !== undefined) held += found.byteLength + 256;
          }
        }
        equal(cache.bytes, held);
        ok(held <= budget);
      }
    }),
  );
});

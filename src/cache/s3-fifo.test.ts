import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../base/assert.ts';
import { S3Fifo } from './s3-fifo.ts';

/** A block that came because it was read. */
function readNew(policy: S3Fifo, slot: number): void {
  policy.admit(slot, slot + 100, true);
  policy.touch(slot);
}

function evictAll(policy: S3Fifo, count: number): number[] {
  return Array.from({ length: count }, () => policy.evict());
}

test('S3-FIFO evicts each admitted slot once, whatever is touched and removed between', () => {
  const kinds = fc.constantFrom('admit', 'along', 'touch', 'remove', 'evict');
  const steps = fc.array(fc.tuple(kinds, fc.nat(24), fc.nat(40)), { maxLength: 300 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 25, max: 250 }), (moves, slotCount) => {
      const policy = new S3Fifo(slotCount);
      const held = new Set<number>();
      for (const [kind, slot, hash] of moves) {
        if ((kind === 'admit' || kind === 'along') && !held.has(slot)) {
          policy.admit(slot, hash, kind === 'admit');
          held.add(slot);
        } else if (kind === 'touch' && held.has(slot)) {
          policy.touch(slot);
        } else if (kind === 'remove' && held.delete(slot)) {
          policy.remove(slot);
        } else if (kind === 'evict' && held.size > 0) {
          assert.equal(held.delete(policy.evict()), true);
        }
      }
      while (held.size > 0) assert.equal(held.delete(policy.evict()), true);
      assert.throws(() => policy.evict(), AssertionError);
    }),
  );
});

test('blocks that nobody reads leave in the order in which they came', () => {
  const policy = new S3Fifo(20);
  for (let slot = 0; slot < 20; slot++) policy.admit(slot, slot + 100, true);
  assert.deepEqual(
    evictAll(policy, 20),
    Array.from({ length: 20 }, (_, slot) => slot),
  );
});

test('a block that was read again outlives those read once', () => {
  const policy = new S3Fifo(10);
  for (let slot = 0; slot < 10; slot++) readNew(policy, slot);
  policy.touch(3);
  assert.equal(evictAll(policy, 10).at(-1), 3);
});

test('a block that is read again soon after it left goes past the newcomers', () => {
  const policy = new S3Fifo(10);
  for (let slot = 0; slot < 10; slot++) readNew(policy, slot);
  assert.equal(policy.evict(), 0);
  readNew(policy, 0);
  assert.equal(evictAll(policy, 10).at(-1), 0);
});

test('who comes again but is not read is a newcomer, and so is who was never read before', () => {
  const policy = new S3Fifo(10);
  readNew(policy, 0);
  policy.admit(1, 101, true);
  assert.deepEqual(evictAll(policy, 2), [0, 1]);
  // Slot 0 was read, but only comes ahead of a reader now; slot 1 is read, but never was before.
  policy.admit(0, 100, true);
  readNew(policy, 1);
  readNew(policy, 2);
  assert.deepEqual(evictAll(policy, 3), [0, 1, 2]);
  readNew(policy, 3);
  // It was remembered all the while, for its first read.
  readNew(policy, 0);
  assert.deepEqual(evictAll(policy, 2), [3, 0]);
});

test('what came along leaves first, and unremembered, unless it is read', () => {
  const policy = new S3Fifo(300);
  for (let slot = 0; slot < 100; slot++) policy.admit(slot, slot + 100, true);
  for (let slot = 100; slot < 110; slot++) policy.admit(slot, slot + 100, false);
  policy.touch(104);
  // Three guests are their share; the others leave before anyone else.
  assert.deepEqual(evictAll(policy, 6), [100, 101, 102, 103, 105, 106]);
  assert.deepEqual(evictAll(policy, 101), [...Array.from({ length: 100 }, (_, s) => s), 104]);
  assert.deepEqual(evictAll(policy, 3), [107, 108, 109]);
  readNew(policy, 100);
  readNew(policy, 1);
  readNew(policy, 104);
  // Only 104 had been read before. It is in main, from which blocks are taken while small is small.
  assert.deepEqual(evictAll(policy, 3), [104, 100, 1]);
});

test('a guest that is read once more after it had left the cache goes to main', () => {
  const policy = new S3Fifo(10);
  readNew(policy, 5);
  assert.equal(policy.evict(), 5);
  policy.admit(5, 105, false);
  policy.touch(5);
  readNew(policy, 6);
  assert.deepEqual(evictAll(policy, 2), [6, 5]);
});

test('a block in main is spared once for each read', () => {
  const policy = allInMain(4);
  policy.touch(1);
  assert.deepEqual(evictAll(policy, 4), [0, 2, 3, 1]);
});

/** Slots [0, count) in main, in order: each was read, left, and was read again while remembered. */
function allInMain(count: number): S3Fifo {
  const policy = new S3Fifo(count * 4);
  for (let slot = 0; slot < count; slot++) readNew(policy, slot);
  for (let slot = 0; slot < count; slot++) assert.equal(policy.evict(), slot);
  for (let slot = 0; slot < count; slot++) readNew(policy, slot);
  return policy;
}

test('reads are used up: what was read long ago leaves before what was read lately', () => {
  const policy = allInMain(4);
  for (let slot = 0; slot < 3; slot++) policy.touch(slot);
  assert.equal(policy.evict(), 3);
  policy.touch(2);
  // The first round spared 0, 1 and 2 for the one read of each; only 2 was read again.
  assert.deepEqual(evictAll(policy, 3), [0, 1, 2]);
});

test('one eviction does not search all of a hot cache for a cold block', () => {
  const count = 500;
  const policy = allInMain(count);
  for (let slot = 0; slot < count - 1; slot++) policy.touch(slot);
  assert.notEqual(policy.evict(), count - 1);
  const next = evictAll(policy, 10);
  assert.ok(next.includes(count - 1), 'the search goes on with the next eviction');
});

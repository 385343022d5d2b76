import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../base/assert.ts';
import { S3Fifo } from './s3-fifo.ts';

test('S3-FIFO evicts each admitted slot once, whatever is touched and removed between', () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('admit', 'touch', 'remove', 'evict'), fc.nat(24), fc.nat(40)),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(steps, (moves) => {
      const policy = new S3Fifo(25);
      const held = new Set<number>();
      for (const [kind, slot, hash] of moves) {
        if (kind === 'admit' && !held.has(slot)) {
          policy.admit(slot, hash);
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
  for (let slot = 0; slot < 20; slot++) policy.admit(slot, slot + 100);
  const evicted = Array.from({ length: 20 }, () => policy.evict());
  assert.deepEqual(
    evicted,
    Array.from({ length: 20 }, (_, slot) => slot),
  );
});

test('a block that was read twice outlives those read once', () => {
  const policy = new S3Fifo(10);
  for (let slot = 0; slot < 10; slot++) policy.admit(slot, slot + 100);
  for (let slot = 0; slot < 10; slot++) policy.touch(slot);
  policy.touch(3);
  const evicted = Array.from({ length: 10 }, () => policy.evict());
  assert.equal(evicted.at(-1), 3);
});

test('a block that comes back soon goes past the newcomers', () => {
  const policy = new S3Fifo(10);
  for (let slot = 0; slot < 10; slot++) policy.admit(slot, slot + 100);
  assert.equal(policy.evict(), 0);
  policy.admit(0, 100);
  const evicted = Array.from({ length: 10 }, () => policy.evict());
  assert.equal(evicted.at(-1), 0);
});

test('a block in main is spared once for each read', () => {
  const policy = new S3Fifo(10);
  for (let slot = 0; slot < 10; slot++) policy.admit(slot, slot + 100);
  for (let count = 0; count < 4; count++) policy.evict();
  // Slots 0 to 3 come back: to main, in this order.
  for (let slot = 0; slot < 4; slot++) policy.admit(slot, slot + 100);
  policy.touch(1);
  for (let slot = 4; slot < 10; slot++) policy.remove(slot);
  assert.deepEqual(
    Array.from({ length: 4 }, () => policy.evict()),
    [0, 2, 3, 1],
  );
});

/** Slots [0, count) in main, in order: each came, left unread, and came back while remembered. */
function allInMain(count: number): S3Fifo {
  const policy = new S3Fifo(count * 4);
  for (let slot = 0; slot < count; slot++) policy.admit(slot, slot + 100);
  for (let slot = 0; slot < count; slot++) assert.equal(policy.evict(), slot);
  for (let slot = 0; slot < count; slot++) policy.admit(slot, slot + 100);
  return policy;
}

test('reads are used up: what was read long ago leaves before what was read lately', () => {
  const policy = allInMain(4);
  for (let slot = 0; slot < 3; slot++) policy.touch(slot);
  assert.equal(policy.evict(), 3);
  policy.touch(2);
  // The first round spared 0, 1 and 2 for the one read of each; only 2 was read again.
  assert.deepEqual(
    Array.from({ length: 3 }, () => policy.evict()),
    [0, 1, 2],
  );
});

test('one eviction does not search all of a hot cache for a cold block', () => {
  const count = 500;
  const policy = allInMain(count);
  for (let slot = 0; slot < count - 1; slot++) policy.touch(slot);
  assert.notEqual(policy.evict(), count - 1);
  const next = Array.from({ length: 10 }, () => policy.evict());
  assert.ok(next.includes(count - 1), 'the search goes on with the next eviction');
});

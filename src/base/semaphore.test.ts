import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from './assert.ts';
import { isStorageError, StorageError } from './errors.ts';
import { Semaphore } from './semaphore.ts';

/** Lets every promise that can settle do so. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const isAborted = (error: unknown): boolean => isStorageError(error, 'aborted');

test('permits go to those who wait in the order in which they came', async () => {
  const semaphore = new Semaphore(2);
  const granted: string[] = [];
  await semaphore.acquire(2);
  const large = semaphore.acquire(2).then(() => granted.push('large'));
  const small = semaphore.acquire(1).then(() => granted.push('small'));
  semaphore.release(1);
  await settle();
  // One permit is free, but it is kept for the first in the queue: the large one must not starve.
  assert.deepEqual(granted, []);
  assert.equal(semaphore.tryAcquire(1), false);
  semaphore.release(1);
  await large;
  assert.deepEqual(granted, ['large']);
  semaphore.release(2);
  await small;
  assert.deepEqual(granted, ['large', 'small']);
  assert.equal(semaphore.free, 1);
});

test('a long queue is served in order to its end', async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire();
  const granted: number[] = [];
  const waits = Array.from({ length: 200 }, async (_, index) => {
    await semaphore.acquire();
    granted.push(index);
    semaphore.release();
  });
  assert.equal(semaphore.waiting, 200);
  semaphore.release();
  await Promise.all(waits);
  assert.deepEqual(
    granted,
    Array.from({ length: 200 }, (_, index) => index),
  );
  assert.equal(semaphore.free, 1);
});

test('a request for more than there is takes, and gives back, the whole', async () => {
  const semaphore = new Semaphore(3);
  await semaphore.acquire(100);
  assert.equal(semaphore.free, 0);
  const waiting = semaphore.acquire(50);
  assert.equal(semaphore.waiting, 1);
  semaphore.release(100);
  await waiting;
  assert.equal(semaphore.free, 0);
  semaphore.release(50);
  assert.equal(semaphore.free, 3);
});

test('an abort takes the waiter out, and whoever it held up goes on', async () => {
  const semaphore = new Semaphore(2);
  await semaphore.acquire(1);
  const abort = new AbortController();
  const large = semaphore.acquire(2, abort.signal);
  const small = semaphore.acquire(1);
  assert.equal(semaphore.waiting, 2);
  abort.abort();
  await assert.rejects(large, isAborted);
  await small;
  assert.equal(semaphore.waiting, 0);
  semaphore.release(2);
  assert.equal(semaphore.free, 2);
});

test('a signal that fired refuses the wait, one that fires after the grant is late', async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire(1);
  await assert.rejects(semaphore.acquire(1, AbortSignal.abort()), isAborted);
  const abort = new AbortController();
  const waiting = semaphore.acquire(1, abort.signal);
  semaphore.release(1);
  abort.abort();
  await waiting;
  assert.equal(semaphore.free, 0);
});

test('close refuses those who wait and those who come; permits still come home', async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire(1);
  const waiting = semaphore.acquire(1, new AbortController().signal);
  const closed = new StorageError('fenced', 'another writer has taken over');
  semaphore.close(closed);
  await assert.rejects(waiting, closed);
  await assert.rejects(semaphore.acquire(1), closed);
  semaphore.release(1);
  assert.equal(semaphore.tryAcquire(1), false);
  assert.equal(semaphore.free, 1);
});

test('permits that were never taken cannot be returned', () => {
  assert.throws(() => new Semaphore(0), AssertionError);
  assert.throws(() => new Semaphore(1).release(1), AssertionError);
  assert.throws(() => new Semaphore(1).tryAcquire(-1), AssertionError);
  assert.throws(() => new Semaphore(1).tryAcquire(NaN), AssertionError);
});

test('grants come in order and within capacity, whatever is released and aborted', async () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('acquire', 'release', 'abort'), fc.integer({ min: 1, max: 6 })),
    { maxLength: 150 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (moves) => {
      const semaphore = new Semaphore(4);
      const held: number[] = [];
      const queue: { readonly count: number; readonly abort: AbortController }[] = [];
      // The model: the head of the queue is granted as soon as it fits.
      const used = (): number => held.reduce((sum, count) => sum + Math.min(count, 4), 0);
      const grant = (): void => {
        while (queue.length > 0 && used() + Math.min(queue[0]!.count, 4) <= 4) {
          held.push(queue.shift()!.count);
        }
      };
      const outcomes: Promise<unknown>[] = [];
      for (const [kind, number] of moves) {
        if (kind === 'acquire') {
          const abort = new AbortController();
          outcomes.push(semaphore.acquire(number, abort.signal).catch(isAborted));
          queue.push({ count: number, abort });
        } else if (kind === 'release' && held.length > 0) {
          semaphore.release(held.splice(number % held.length, 1)[0]!);
        } else if (kind === 'abort' && queue.length > 0) {
          queue.splice(number % queue.length, 1)[0]!.abort.abort();
        }
        grant();
        assert.equal(semaphore.free, 4 - used());
        assert.equal(semaphore.waiting, queue.length);
      }
      for (const { abort } of queue) abort.abort();
      const settled = await Promise.all(outcomes);
      assert.ok(settled.every((outcome) => outcome === undefined || outcome === true));
    }),
  );
});

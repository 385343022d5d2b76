// What a store that fails or answers wrongly meets above it: deadlines, pauses, the budget of
// retries.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { bytesOf, rejectsWith } from './testing-store.ts';
import { createStillClock } from './manual-clock.ts';
import type { MemoryStore } from './memory.ts';
import type { ObjectStore, RequestCause, RequestOptions } from './object-store.ts';
import { RETRY_BUDGET } from './retry-budget.ts';
import { bench, failingPuts, never, unavailable } from './testing-retry.ts';

const options: RequestOptions = { cause: 'admin' };

describe('a store that fails', () => {
  it('is tried again for as long as the cause of the request says', async () => {
    const { store, clock } = bench(
      (inner) => ({ ...inner, get: () => Promise.reject(unavailable) }),
      {
        totalDeadlineMs: 100_000,
        byCause: { read: { totalDeadlineMs: 10_000 } },
        budget: { ...RETRY_BUDGET, probesPerSecond: 1000 },
      },
    );
    const gaveUpAfterMs = async (cause: RequestCause): Promise<number> => {
      const startMs = clock.monotonicMs();
      await rejectsWith(store.get('k', undefined, { cause }), 'unavailable');
      return clock.monotonicMs() - startMs;
    };
    const readMs = await gaveUpAfterMs('read');
    assert.ok(readMs > 5000 && readMs <= 10_000, `${readMs}`);
    const flushMs = await gaveUpAfterMs('flush');
    assert.ok(flushMs > 95_000 && flushMs <= 100_000, `${flushMs}`);
  });

  it('is given up by an attempt for as long as its cause says', async () => {
    const { store, clock } = bench((inner) => ({ ...inner, head: (_key, o) => never(o.signal) }), {
      totalDeadlineMs: 1000,
      byCause: { lookup: { attemptTimeoutMs: 300, totalDeadlineMs: 300 } },
    });
    const pending = store.head('k', { cause: 'lookup' });
    clock.advance(300);
    await rejectsWith(pending, 'unavailable');
  });

  it('gets more time with each attempt, up to what any request gets', async () => {
    let attempts = 0;
    const { store, clock } = bench(
      (inner) => ({
        ...inner,
        head(_key, o) {
          attempts += 1;
          return never(o.signal);
        },
      }),
      {
        attemptTimeoutMs: 800,
        baseDelayMs: 0,
        byCause: { lookup: { attemptTimeoutMs: 100, totalDeadlineMs: 2400 } },
      },
    );
    let ended = false;
    const pending = rejectsWith(store.head('k', { cause: 'lookup' }), 'unavailable').then(() => {
      ended = true;
    });
    while (!ended) {
      clock.advance(20);
      for (let i = 0; i < 20; i++) await Promise.resolve();
    }
    await pending;
    // 100 + 200 + 400 + 800 + 800, and what is left.
    assert.ok(attempts >= 5 && attempts <= 6, `${attempts} attempts`);
  });

  it('is left alone for as long as it asks, within reason', async () => {
    const asked = async (retryAfterMs: number, totalDeadlineMs: number): Promise<number> => {
      const slowDown = new StorageError('unavailable', 'slow down', { retryAfterMs });
      const { store, clock } = bench(failingPuts(1, false, slowDown), {
        totalDeadlineMs,
        baseDelayMs: 10,
      });
      await store.putIfAbsent('k', [bytesOf('x')], options);
      return Math.floor(clock.sleeps[0]! / 10) * 10;
    };
    assert.equal(await asked(3000, 60_000), 3000);
    assert.equal(await asked(3_000_000, 600_000), 30_000, 'a store may be wrong');
    assert.equal(await asked(30_000, 20_000), 10_000, 'there is time for another attempt');
    assert.equal(await asked(-5000, 20_000), 0);
  });

  it('gets one attempt a second from all who wait, and all of them once it is back', async () => {
    const attempts: number[] = [];
    let isOut = true;
    const { store, clock, memory } = bench(
      (inner, time) => ({
        ...inner,
        get: async (key, range, opts) => {
          attempts.push(time.monotonicMs());
          if (isOut) throw unavailable;
          return await inner.get(key, range, opts);
        },
      }),
      { totalDeadlineMs: Infinity },
      createStillClock(),
    );
    memory.objects.set('k', bytesOf('x'));
    const changes: boolean[] = [];
    store.health.onChange(({ failing }) => changes.push(failing));
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 50) {
        clock.advance(50);
        await clock.yieldTurn();
      }
    };
    const waiting = Array.from({ length: 200 }, () => store.get('k', undefined, { cause: 'read' }));
    await pass(30_000);
    const probesOf = (fromMs: number, toMs: number): number =>
      attempts.filter((at) => at >= fromMs && at < toMs).length;
    assert.equal(probesOf(0, 50), 200, 'first attempts are free');
    assert.ok(probesOf(50, 2500) < 70, 'what is saved up, and ten a second');
    assert.ok(Math.abs(probesOf(10_000, 30_000) - 20) <= 1, 'then one a second');
    isOut = false;
    await pass(2000);
    assert.equal((await Promise.all(waiting)).length, 200);
    assert.deepEqual(changes, [true, false]);
    assert.equal(store.health.status().consecutiveFailures, 0);
  });

  it('is out when it refuses our credentials, not when it says there is nothing', async () => {
    const failures = [new StorageError('denied', 'no'), new StorageError('notFound', 'none')];
    const failing: boolean[] = [];
    for (const error of failures) {
      const { store, clock } = bench((inner) => ({ ...inner, get: () => Promise.reject(error) }));
      for (let i = 0; i < 5; i++) {
        await rejectsWith(store.get('k', undefined, options), error.kind);
        clock.advance(1000);
      }
      failing.push(store.health.status().failing);
    }
    assert.deepEqual(failing, [true, false]);
  });
});

describe('an answer of any kind', () => {
  it('ends an outage', async () => {
    for (const kind of ['exists', 'notFound'] as const) {
      let isOut = true;
      const answer = new StorageError(kind, 'so it is');
      const { store } = bench(
        (inner) => ({ ...inner, delete: () => Promise.reject(isOut ? unavailable : answer) }),
        { totalDeadlineMs: 10_000 },
      );
      await rejectsWith(store.delete('k', options), 'unavailable');
      assert.equal(store.health.status().failing, true);
      isOut = false;
      await rejectsWith(store.delete('k', options), kind);
      assert.equal(store.health.status().failing, false);
    }
  });
});

describe('bytes that are missing', () => {
  /** Cuts the answers to gets short whose numbers, from 1, are named; to nothing when told so. */
  function cutting(numbers: readonly number[], toNothing: boolean) {
    return (memory: MemoryStore): ObjectStore => {
      let gets = 0;
      return {
        ...memory,
        async get(key, range, opts) {
          const result = await memory.get(key, range, opts);
          gets += 1;
          if (!numbers.includes(gets)) return result;
          return { ...result, bytes: result.bytes.subarray(0, toNothing ? 0 : -1) };
        },
      };
    };
  }

  it('are asked for again', async () => {
    for (const range of [undefined, { start: 2, end: 6 }, { start: 2, end: 60 }, { suffix: 3 }]) {
      const { store, memory, clock } = bench(cutting([1, 2], false));
      memory.objects.set('k', bytesOf('0123456789'));
      const whole = await memory.get('k', range, options);
      assert.deepEqual(await store.get('k', range, options), whole);
      assert.equal(clock.sleeps.length, 2);
    }
  });

  it('neither make an object our own nor somebody else’s', async () => {
    for (const size of [10, 10_000]) {
      const body = createSeededRng(3).bytes(size);
      for (const cut of [[1], [2], [1, 2], [1, 3]]) {
        for (const toNothing of [false, true]) {
          const own = bench(cutting(cut, toNothing));
          own.memory.objects.set('k', body);
          await own.store.putIfAbsent('k', [body], options);
          const other = bench(cutting(cut, toNothing));
          const theirs = body.slice();
          theirs[size - 1]! ^= 1;
          other.memory.objects.set('k', theirs);
          await rejectsWith(other.store.putIfAbsent('k', [body], options), 'exists');
        }
      }
    }
  });
});

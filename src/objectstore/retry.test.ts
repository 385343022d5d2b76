import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { describeStore } from './conformance.ts';
import { bytesOf, listAll, rejectsWith } from './testing-store.ts';
import { createManualClock } from './manual-clock.ts';
import { createMemoryStore, type MemoryStore } from './memory.ts';
import { withMeter } from './metered.ts';
import type { ObjectStore, RequestOptions } from './object-store.ts';
import { RETRY_BUDGET } from './retry-budget.ts';
import { withRetry } from './retry.ts';
import { bench, failingPuts, never, unavailable } from './testing-retry.ts';

const options: RequestOptions = { cause: 'admin' };
describeStore('a retrying store', async ({ pageKeys }) => {
  const clock = createManualClock();
  const { settings } = bench((memory) => memory, { clock });
  const inner = createMemoryStore({ pageKeys });
  // Without the lost-reply rule: the suite puts equal bytes twice and wants `exists`.
  const store = withRetry(inner, settings);
  return {
    store: { ...store, putIfAbsent: (key, body, opts) => inner.putIfAbsent(key, body, opts) },
  };
});

describe('retrying', () => {
  it('tries again what may pass, and then succeeds', async () => {
    const { store, memory, clock } = bench(failingPuts(3, false));
    await store.putIfAbsent('k', [bytesOf('x')], options);
    assert.deepEqual(memory.objects.get('k'), bytesOf('x'));
    assert.equal(clock.sleeps.length, 3);
    assert.equal(clock.pending(), 0);
  });

  it('does not try again what cannot pass', async () => {
    for (const kind of ['denied', 'invalid', 'corrupt'] as const) {
      const { store, clock } = bench(failingPuts(1, false, new StorageError(kind, 'no')));
      await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), kind);
      assert.deepEqual(clock.sleeps, []);
    }
    const { store } = bench(failingPuts(1, false, new TypeError('a bug')));
    await assert.rejects(store.putIfAbsent('k', [bytesOf('x')], options), TypeError);
  });

  it('waits longer and longer, at random, up to the maximum', async () => {
    const { store, clock } = bench(failingPuts(200, false), {
      rng: { float: () => 0.999, bytes: (count) => new Uint8Array(count) },
      totalDeadlineMs: 9000,
    });
    await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'unavailable');
    const rounded = clock.sleeps.map((ms) => Math.round(ms / 0.999));
    assert.deepEqual(rounded, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
  });

  it('gives up at the whole deadline, however many attempts that takes', async () => {
    const { store, clock } = bench(failingPuts(1_000_000, false), {
      totalDeadlineMs: 5000,
      // Sleeps of this clock jump over deadlines.
      budget: { ...RETRY_BUDGET, probesPerSecond: 1000 },
    });
    await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'unavailable');
    assert.ok(clock.monotonicMs() <= 5000);
  });

  it('gives up an attempt that does not answer, and tries again', async () => {
    let calls = 0;
    const { store, clock, memory } = bench((inner) => ({
      ...inner,
      get: (key, range, opts) => (++calls === 1 ? never(opts.signal) : inner.get(key, range, opts)),
    }));
    memory.objects.set('k', bytesOf('x'));
    const pending = store.get('k', undefined, options);
    clock.advance(1000);
    assert.deepEqual((await pending).bytes, bytesOf('x'));
    assert.equal(calls, 2);
    assert.equal(clock.pending(), 0);
  });

  it('stops when the caller gives up, during an attempt and during a pause', async () => {
    const hanging = bench((inner) => ({ ...inner, head: (_key, opts) => never(opts.signal) }));
    const controller = new AbortController();
    const pending = hanging.store.head('k', { ...options, signal: controller.signal });
    controller.abort();
    await rejectsWith(pending, 'aborted');
    assert.deepEqual(hanging.clock.sleeps, []);

    const second = new AbortController();
    const failing = bench((inner) => ({
      ...inner,
      head: () => {
        second.abort();
        return Promise.reject(unavailable);
      },
    }));
    await rejectsWith(failing.store.head('k', { ...options, signal: second.signal }), 'aborted');
  });
});

describe('a put whose reply was lost', () => {
  it('succeeds when the object holds our own bytes', async () => {
    for (const size of [0, 1, 4095, 4096, 4097, 100_000]) {
      const { store, memory } = bench(failingPuts(1, true));
      const body = createSeededRng(size).bytes(size);
      const cut = size >> 1;
      const parts = [body.subarray(0, cut), new Uint8Array(0), body.subarray(cut)];
      await store.putIfAbsent('k', parts, options);
      assert.deepEqual(memory.objects.get('k'), body);
    }
  });

  it('succeeds when every reply but the last is lost', async () => {
    const { store, memory } = bench((inner) => {
      let calls = 0;
      return {
        ...inner,
        async putIfAbsent(key, body, opts) {
          calls += 1;
          if (calls === 1) await inner.putIfAbsent(key, body, opts);
          if (calls < 4) throw unavailable;
          await inner.putIfAbsent(key, body, opts);
        },
      };
    });
    await store.putIfAbsent('k', [bytesOf('mine')], options);
    assert.deepEqual(memory.objects.get('k'), bytesOf('mine'));
  });

  it('fails with exists when the object is anything else', async () => {
    const size = 10_000;
    const body = createSeededRng(7).bytes(size);
    const others: Uint8Array[] = [new Uint8Array(0), body.subarray(0, size - 1)];
    others.push(Buffer.concat([body, bytesOf('x')]));
    for (const at of [0, 4095, 4096, size - 1]) {
      const flipped = body.slice();
      flipped[at]! ^= 1;
      others.push(flipped);
    }
    for (const other of others) {
      const { store, memory } = bench(failingPuts(1, false));
      memory.objects.set('k', other);
      await rejectsWith(store.putIfAbsent('k', [body], options), 'exists');
      assert.equal(memory.objects.get('k'), other);
    }
    const { store, memory } = bench((inner) => inner);
    memory.objects.set('k', bytesOf('x'));
    await rejectsWith(store.putIfAbsent('k', [], options), 'exists');
  });

  it('does not read the whole of an object that differs at its beginning', async () => {
    const { settings } = bench((inner) => inner);
    const metered = withMeter(createMemoryStore());
    await metered.putIfAbsent('k', [createSeededRng(1).bytes(1_000_000)], options);
    const body = createSeededRng(2).bytes(1_000_000);
    await rejectsWith(withRetry(metered, settings).putIfAbsent('k', [body], options), 'exists');
    assert.ok(metered.meter.snapshot().bytesDown <= 4096);
  });

  it('tries the comparison again when it fails', async () => {
    let gets = 0;
    const { store } = bench((memory) => ({
      ...failingPuts(1, true)(memory),
      get: (key, range, opts) =>
        gets++ === 0 ? Promise.reject(unavailable) : memory.get(key, range, opts),
    }));
    await store.putIfAbsent('k', [bytesOf('mine')], options);
    assert.equal(gets, 2);
  });

  it('fails with exists when the object is gone before it can be compared', async () => {
    const { store } = bench((memory) => ({
      ...memory,
      putIfAbsent: () => Promise.reject(new StorageError('exists', 'taken')),
    }));
    await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'exists');
  });
});

describe('a retried listing', () => {
  const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];

  /** Each inner listing fails after one page, `failures` times. */
  function breaking(failures: number) {
    return (memory: MemoryStore): ObjectStore => {
      let left = failures;
      return {
        ...memory,
        async *list(prefix, opts) {
          for await (const page of memory.list(prefix, opts)) {
            yield page;
            if (left-- > 0) throw unavailable;
          }
        },
      };
    };
  }

  it('goes on after the last key that was handed out', async () => {
    for (let failures = 0; failures < 6; failures++) {
      const { store, memory } = bench(breaking(failures));
      for (const key of keys) memory.objects.set(key, new Uint8Array(0));
      const pages = await listAll(store, '', 'a');
      assert.deepEqual(
        pages.flat().map((info) => info.key),
        keys.slice(1),
      );
    }
  });

  it('gives each page its own time, and gives up one that hangs', async () => {
    let hung = false;
    const { store, memory, clock } = bench((inner) => ({
      ...inner,
      async *list(prefix, opts) {
        for await (const page of inner.list(prefix, opts)) {
          yield page;
          if (!hung) {
            hung = true;
            await never(opts.signal);
          }
        }
      },
    }));
    for (const key of keys) memory.objects.set(key, new Uint8Array(0));
    const pages = store.list('', options)[Symbol.asyncIterator]();
    const got: string[] = [];
    for (;;) {
      const pending = pages.next();
      // Let the store get to where it hangs before time moves on.
      for (let turn = 0; turn < 3; turn++) await clock.yieldTurn();
      if (hung) clock.advance(999);
      if (hung) clock.advance(1);
      const page = await pending;
      if (page.done === true) break;
      got.push(...page.value.map((info) => info.key));
      // However long the consumer takes, it is not the store's time.
      clock.advance(1_000_000);
    }
    assert.deepEqual(got, keys);
    assert.equal(clock.sleeps.length, 1, 'only the page that hung was tried again');
  });

  it('gives up when pages keep failing', async () => {
    const { store } = bench((memory) => ({
      ...memory,
      async *list() {
        yield await Promise.reject<[]>(unavailable);
      },
    }));
    await rejectsWith(listAll(store, ''), 'unavailable');
  });
});

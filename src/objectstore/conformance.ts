// What every object store must do: one suite, run against each implementation. Tests only.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { describeListings } from './conformance-listings.ts';
import type { ObjectStore, RequestOptions } from './object-store.ts';
import {
  bytesOf,
  keysOf,
  options,
  PAGE_KEYS,
  rejectsWith,
  type UseStore,
} from './testing-store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Called after the test, when the store is closed. */
  readonly cleanUp?: () => Promise<void>;
}

/** Makes an empty store that lists `pageKeys` keys per page. */
export type CreateStore = (settings: { readonly pageKeys: number }) => Promise<StoreUnderTest>;

const RACERS = 20;

export function describeStore(name: string, create: CreateStore): void {
  async function use(body: (store: ObjectStore) => Promise<void>): Promise<void> {
    const { store, cleanUp } = await create({ pageKeys: PAGE_KEYS });
    try {
      await body(store);
    } finally {
      await store.close();
      await cleanUp?.();
    }
  }

  describe(name, () => {
    describePuts(use);
    describeReads(use);
    describeListings(use);
    describeAborts(use);
  });
}

function describePuts(use: UseStore): void {
  it('gives back what was put, and its size', async () => {
    await use(async (store) => {
      await store.putIfAbsent('a/b', [bytesOf('hello '), bytesOf('world')], options);
      const { bytes, objectBytes } = await store.get('a/b', undefined, options);
      assert.deepEqual(Buffer.from(bytes).toString(), 'hello world');
      assert.equal(objectBytes, 11);
      assert.deepEqual(await store.head('a/b', options), { key: 'a/b', bytes: 11 });
    });
  });

  it('refuses a put on a key that is taken, and keeps the first object', async () => {
    await use(async (store) => {
      await store.putIfAbsent('k', [bytesOf('first')], options);
      await rejectsWith(store.putIfAbsent('k', [bytesOf('second')], options), 'exists');
      await rejectsWith(store.putIfAbsent('k', [bytesOf('first')], options), 'exists');
      const { bytes } = await store.get('k', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), 'first');
    });
  });

  it('lets exactly one of many racing puts win, and keeps its bytes', async () => {
    await use(async (store) => {
      const bodies = Array.from({ length: RACERS }, (_, i) => bytesOf(`racer ${i}`));
      const outcomes = await Promise.allSettled(
        bodies.map((body) => putUntilDecided(store, 'race', body)),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome.status === 'fulfilled' ? [i] : []));
      assert.equal(winners.length, 1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.ok(isStorageError(outcome.reason, 'exists'));
      }
      const { bytes } = await store.get('race', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), `racer ${winners[0]}`);
    });
  });

  it('stores an empty body', async () => {
    await use(async (store) => {
      await store.putIfAbsent('none', [], options);
      await store.putIfAbsent('nothing', [new Uint8Array(0)], options);
      for (const key of ['none', 'nothing']) {
        const { bytes, objectBytes } = await store.get(key, undefined, options);
        assert.deepEqual([bytes.length, objectBytes], [0, 0]);
        assert.deepEqual(await store.head(key, options), { key, bytes: 0 });
      }
      const suffix = await store.get('none', { suffix: 10 }, options);
      assert.deepEqual([suffix.bytes.length, suffix.objectBytes], [0, 0]);
      await rejectsWith(store.get('none', { start: 0, end: 1 }, options), 'invalid');
    });
  });

  it('stores 8 MiB from several parts over shared memory', async () => {
    await use(async (store) => {
      const whole = new Uint8Array(new SharedArrayBuffer(8 * 1024 * 1024));
      whole.set(createSeededRng(8).bytes(65_521));
      for (let at = 65_521; at < whole.length; at *= 2) whole.copyWithin(at, 0, at);
      const cuts = [0, 1, 4096, 4096, 1_000_003, whole.length];
      const parts = cuts.slice(1).map((end, i) => whole.subarray(cuts[i], end));
      await store.putIfAbsent('big', parts, options);
      const { bytes } = await store.get('big', undefined, options);
      assert.ok(Buffer.from(whole.buffer).equals(bytes));
      const middle = await store.get('big', { start: 4095, end: 1_000_004 }, options);
      assert.ok(Buffer.from(whole.buffer, 4095, 1_000_004 - 4095).equals(middle.bytes));
    });
  });

  it('keeps its own copy of a body', async () => {
    await use(async (store) => {
      const body = bytesOf('mine');
      await store.putIfAbsent('k', [body], options);
      body.fill(0);
      const first = await store.get('k', undefined, options);
      assert.equal(Buffer.from(first.bytes).toString(), 'mine');
      first.bytes.fill(0);
      const second = await store.get('k', undefined, options);
      assert.equal(Buffer.from(second.bytes).toString(), 'mine');
    });
  });

  it('deletes, also what is not there, and can then put again', async () => {
    await use(async (store) => {
      await store.delete('never/was', options);
      await store.putIfAbsent('k', [bytesOf('old')], options);
      await store.delete('k', options);
      await store.delete('k', options);
      assert.equal(await store.head('k', options), undefined);
      await store.putIfAbsent('k', [bytesOf('new')], options);
      const { bytes } = await store.get('k', undefined, options);
      assert.equal(Buffer.from(bytes).toString(), 'new');
    });
  });
}

function describeReads(use: UseStore): void {
  it('reads ranges as far as the object reaches', async () => {
    await use(async (store) => {
      await store.putIfAbsent('k', [bytesOf('0123456789')], options);
      const read = async (range: Parameters<ObjectStore['get']>[1]): Promise<string> => {
        const { bytes, objectBytes } = await store.get('k', range, options);
        assert.equal(objectBytes, 10);
        return Buffer.from(bytes).toString();
      };
      assert.equal(await read({ start: 0, end: 1 }), '0');
      assert.equal(await read({ start: 3, end: 7 }), '3456');
      assert.equal(await read({ start: 8, end: 100 }), '89');
      assert.equal(await read({ start: 0, end: 10 }), '0123456789');
      assert.equal(await read({ suffix: 1 }), '9');
      assert.equal(await read({ suffix: 4 }), '6789');
      assert.equal(await read({ suffix: 10 }), '0123456789');
      assert.equal(await read({ suffix: 1000 }), '0123456789');
    });
  });

  it('refuses ranges that are none or start past the end', async () => {
    await use(async (store) => {
      await store.putIfAbsent('k', [bytesOf('0123456789')], options);
      const bad = [
        { start: 10, end: 11 },
        { start: 11, end: 20 },
        { start: 3, end: 3 },
        { start: 4, end: 3 },
        { start: -1, end: 3 },
        { start: 0.5, end: 3 },
        { suffix: 0 },
        { suffix: -1 },
      ];
      for (const range of bad) await rejectsWith(store.get('k', range, options), 'invalid');
    });
  });

  it('says notFound for what is not there', async () => {
    await use(async (store) => {
      await store.putIfAbsent('a/b', [bytesOf('x')], options);
      for (const key of ['b', 'a', 'a/bb', 'a/b/c', 'c/d']) {
        await rejectsWith(store.get(key, undefined, options), 'notFound');
        await rejectsWith(store.get(key, { start: 0, end: 1 }, options), 'notFound');
        await rejectsWith(store.get(key, { suffix: 1 }, options), 'notFound');
        assert.equal(await store.head(key, options), undefined);
      }
    });
  });

  it('refuses keys that could name something else', async () => {
    await use(async (store) => {
      for (const key of ['', '/a', 'a/', 'a//b', '.', 'a/..', '../a', 'a/./b', 'ä', 'a\nb']) {
        await rejectsWith(store.putIfAbsent(key, [bytesOf('x')], options), 'invalid');
        await rejectsWith(store.get(key, undefined, options), 'invalid');
        await rejectsWith(store.head(key, options), 'invalid');
        await rejectsWith(store.delete(key, options), 'invalid');
      }
    });
  });
}

function describeAborts(use: UseStore): void {
  it('refuses what was given up before it began', async () => {
    await use(async (store) => {
      await store.putIfAbsent('k', [bytesOf('x')], options);
      const given = { cause: 'admin', signal: AbortSignal.abort() } as const;
      await rejectsWith(store.putIfAbsent('new', [bytesOf('x')], given), 'aborted');
      await rejectsWith(store.get('k', undefined, given), 'aborted');
      await rejectsWith(store.head('k', given), 'aborted');
      await rejectsWith(store.delete('k', given), 'aborted');
      await rejectsWith(firstPage(store, given), 'aborted');
      assert.deepEqual(await keysOf(store, ''), ['k']);
    });
  });

  it('stops a listing between pages', async () => {
    await use(async (store) => {
      for (const key of ['a', 'b', 'c', 'd']) await store.putIfAbsent(key, [], options);
      const controller = new AbortController();
      const pages = store
        .list('', { cause: 'admin', signal: controller.signal })
        [Symbol.asyncIterator]();
      assert.equal((await pages.next()).done, false);
      controller.abort();
      await rejectsWith(Promise.resolve(pages.next()), 'aborted');
    });
  });
}

async function firstPage(store: ObjectStore, given: RequestOptions): Promise<unknown> {
  return await store.list('', given)[Symbol.asyncIterator]().next();
}

/** A store may answer two puts at once with "try again": then nothing is decided yet. */
async function putUntilDecided(store: ObjectStore, key: string, body: Uint8Array): Promise<void> {
  for (;;) {
    try {
      await store.putIfAbsent(key, [body], options);
      return;
    } catch (error) {
      if (!isStorageError(error, 'unavailable')) throw error;
    }
  }
}

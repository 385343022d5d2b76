// The part of the suite of every object store (conformance.ts) that is about listings. Tests only.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bytesOf, keysOf, listAll, options, PAGE_KEYS, type UseStore } from './testing-store.ts';

export function describeListings(use: UseStore): void {
  it('lists in byte order over folders and pages, with sizes', async () => {
    await use(async (store) => {
      // '-' and '.' sort before '/', digits and letters after it.
      const keys = ['a', 'b-/c', 'b-c', 'b.c', 'b/c', 'b/d/e', 'b/d/f', 'b0', 'bb/c', 'c/0'];
      for (const [i, key] of keys.toReversed().entries()) {
        await store.putIfAbsent(key, [new Uint8Array(i)], options);
      }
      const pages = await listAll(store, '');
      const expected = keys.map((key, i) => ({ key, bytes: keys.length - 1 - i }));
      assert.deepEqual(pages.flat(), expected);
      assert.deepEqual(
        pages.map((page) => page.length),
        [3, 3, 3, 1],
      );
      for (const [i, key] of keys.entries()) {
        assert.deepEqual(await keysOf(store, '', key), keys.slice(i + 1));
      }
      assert.deepEqual(await keysOf(store, '', 'b'), keys.slice(1));
      assert.deepEqual(await keysOf(store, '', 'b/d'), keys.slice(5));
      assert.deepEqual(await keysOf(store, '', 'b/d/ee'), keys.slice(6));
      assert.deepEqual(await keysOf(store, '', 'zz'), []);
    });
  });

  it('lists by prefix, which need not end at a slash', async () => {
    await use(async (store) => {
      const keys = ['log/1', 'log/10', 'log/2', 'log/20/x', 'logs/1', 'tables/1'];
      for (const key of keys) await store.putIfAbsent(key, [bytesOf(key)], options);
      assert.deepEqual(await keysOf(store, 'log/'), keys.slice(0, 4));
      assert.deepEqual(await keysOf(store, 'log'), keys.slice(0, 5));
      assert.deepEqual(await keysOf(store, 'log/1'), ['log/1', 'log/10']);
      assert.deepEqual(await keysOf(store, 'log/2', 'log/2'), ['log/20/x']);
      assert.deepEqual(await keysOf(store, 'log/', 'log/10'), ['log/2', 'log/20/x']);
      assert.deepEqual(await keysOf(store, 'log/', 'a'), keys.slice(0, 4));
      assert.deepEqual(await keysOf(store, 'log/', 'm'), []);
      assert.deepEqual(await keysOf(store, 'none/'), []);
    });
  });

  it('gives one full page, and no empty one after it', async () => {
    await use(async (store) => {
      for (const key of ['a', 'b', 'c']) await store.putIfAbsent(key, [], options);
      const pages = await listAll(store, '');
      assert.deepEqual(
        pages.map((page) => page.length),
        [PAGE_KEYS],
      );
      await store.delete('b', options);
      assert.deepEqual(await keysOf(store, ''), ['a', 'c']);
    });
  });

  it('takes any printable character in a key', async () => {
    await use(async (store) => {
      const keys = [
        'a b',
        'a+b',
        'a%2Fb',
        'a&amp;b',
        'q\'"<x>',
        '~!@#$^*()_=,;:|\\',
        '[{?}]',
        '...',
      ];
      for (const key of keys) await store.putIfAbsent(`odd/${key}`, [bytesOf(key)], options);
      assert.deepEqual(
        await keysOf(store, 'odd/'),
        keys.map((key) => `odd/${key}`).sort((a, b) => (a < b ? -1 : 1)),
      );
      for (const key of keys) {
        const { bytes } = await store.get(`odd/${key}`, undefined, options);
        assert.equal(Buffer.from(bytes).toString(), key);
        assert.deepEqual(await keysOf(store, `odd/${key}`), [`odd/${key}`]);
        await store.delete(`odd/${key}`, options);
      }
      assert.deepEqual(await keysOf(store, ''), []);
    });
  });
}

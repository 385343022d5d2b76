import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeStore } from './conformance.ts';
import { bytesOf, listAll } from './testing-store.ts';
import { createMemoryStore } from './memory.ts';
import { withPrefix } from './prefix.ts';

describeStore('the memory store', async ({ pageKeys }) => ({
  store: createMemoryStore({ pageKeys }),
}));

describeStore('a folder of a memory store', async ({ pageKeys }) => {
  const store = createMemoryStore({ pageKeys });
  // Neighbours on both sides, which must never show.
  for (const key of ['x/y', 'x/y-/a', 'x/y0', 'x/a', 'z']) store.objects.set(key, bytesOf(key));
  return { store: withPrefix(store, 'x/y') };
});

describe('the memory store', () => {
  it('shows its objects, so that a test can flip bytes', async () => {
    const store = createMemoryStore();
    await store.putIfAbsent('k', [bytesOf('abc')], { cause: 'admin' });
    store.objects.get('k')![1] = 0x58;
    const { bytes } = await store.get('k', undefined, { cause: 'admin' });
    assert.equal(Buffer.from(bytes).toString(), 'aXc');
  });

  it('lists 1000 keys per page unless told otherwise', async () => {
    const store = createMemoryStore();
    for (let i = 0; i < 1001; i++) store.objects.set(`k${i}`, new Uint8Array(0));
    const pages = await listAll(store, '');
    assert.deepEqual(
      pages.map((page) => page.length),
      [1000, 1],
    );
  });
});

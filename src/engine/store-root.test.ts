import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { createSeededRng } from '../base/rng.ts';
import { createManualClock } from '../objectstore/manual-clock.ts';
import { createMemoryStore } from '../objectstore/memory.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { initStore } from './db.ts';
import { openRoot } from './store-root.ts';
import { INIT_OPTIONS, PASSPHRASE } from './testing.ts';

function components(store: ObjectStore) {
  return { store, rng: createSeededRng(1), clock: createManualClock() };
}

test('a store that overwrites where it must not is refused, and left as it was', async () => {
  const memory = createMemoryStore();
  const careless: ObjectStore = {
    ...memory,
    async putIfAbsent(key, body, options) {
      memory.objects.delete(key);
      await memory.putIfAbsent(key, body, options);
    },
  };
  await assert.rejects(initStore(components(careless), INIT_OPTIONS), (error) => {
    return isStorageError(error, 'invalid') && error.message.includes('conditional PUT');
  });
  assert.equal(memory.objects.size, 0);
});

test('a store is created once; a creation that was cut short is taken up again', async () => {
  const whole = createMemoryStore();
  await initStore(components(whole), INIT_OPTIONS);
  const exists = (error: unknown): boolean => isStorageError(error, 'exists');
  await assert.rejects(initStore(components(whole), INIT_OPTIONS), exists);
  const names = [...whole.objects.keys()];
  for (let kept = 0; kept < names.length; kept++) {
    const store = createMemoryStore();
    for (const name of names.slice(0, kept)) store.objects.set(name, whole.objects.get(name)!);
    await initStore(components(store), INIT_OPTIONS);
    await openRoot(store, PASSPHRASE, 'open');
    assert.equal(store.objects.size, names.length, `with the first ${kept} objects`);
  }
});

test('a wrong passphrase is not damage, and damage is no wrong passphrase', async () => {
  const store = createMemoryStore();
  await initStore(components(store), INIT_OPTIONS);
  const kindOf = async (passphrase: string): Promise<string> => {
    try {
      await openRoot(store, passphrase, 'open');
      return 'open';
    } catch (error) {
      return isStorageError(error) ? error.kind : 'bug';
    }
  };
  assert.equal(await kindOf(PASSPHRASE), 'open');
  assert.equal(await kindOf('another one'), 'wrongKey');
  for (const name of [
    'format.json',
    [...store.objects.keys()].find((key) => key.startsWith('keys/'))!,
  ]) {
    const intact = store.objects.get(name)!;
    const damaged = intact.slice();
    damaged[damaged.length >> 1]! ^= 1;
    store.objects.set(name, damaged);
    assert.equal(await kindOf(PASSPHRASE), 'corrupt', name);
    store.objects.set(name, intact);
  }
});

test('a format.json that no varve wrote is refused, even with a digest that fits', async () => {
  const parts = components(createMemoryStore());
  await initStore(parts, INIT_OPTIONS);
  const { bytes } = await parts.store.get('format.json', undefined, { cause: 'open' });
  const format = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  const changes = [
    { cipher: 'toString' },
    { compression: '' },
    { storeId: '' },
    { createdUnixMs: null },
  ];
  for (const change of changes) {
    const changed = { ...format, ...change };
    const { version, storeId, cipher, compression, createdUnixMs } = changed as typeof format;
    const covered = JSON.stringify([version, storeId, cipher, compression, createdUnixMs]);
    const digest = createHash('sha256').update(covered).digest('hex');
    const text = JSON.stringify({ ...changed, digest });
    await parts.store.delete('format.json', { cause: 'admin' });
    await parts.store.putIfAbsent('format.json', [Buffer.from(text)], { cause: 'admin' });
    await assert.rejects(openRoot(parts.store, PASSPHRASE, 'open'), (error) =>
      isStorageError(error, 'corrupt'),
    );
  }
});

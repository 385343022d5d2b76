// Whether a writer that finds something missing was deposed, beside manifests that come and go
// while it looks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import { manifestName } from '../format/names.ts';
import { withHook } from '../follow/testing.ts';
import { throwIfDeposed } from './deposed.ts';
import { FIRST_MANIFEST } from './manifest.ts';
import { createManifestChain } from './manifest-chain.ts';

const BRANCH = 'b';
const OWN = 4;
const SUCCESSOR = 5;

/** A branch with manifest 2, of us; `looking` runs when `number` was listed, before it is read. */
async function createBranch(looking: (number: number) => Promise<void>) {
  const memory = createMemoryStore();
  const rng = createSeededRng(1);
  const keyring = createKeyring({
    dataKey: rng.bytes(32),
    storeId: Buffer.from(rng.bytes(16)).toString('hex'),
    cipher: 'chacha20-poly1305',
  });
  const store = withHook(memory, async (request, key) => {
    if (request === 'get') await looking(Number(key.split('/').at(-1)));
  });
  const manifests = createManifestChain(store, keyring, rng, BRANCH);
  const branch = {
    publish: (number: number, epoch: number) =>
      manifests.publish(number, { ...FIRST_MANIFEST, epoch }, 'admin'),
    remove: (number: number) => void memory.objects.delete(manifestName(BRANCH, number)),
    look: (newest: () => number) => throwIfDeposed(manifests, { newest, epoch: OWN }, 'read'),
  };
  await branch.publish(2, OWN);
  return branch;
}

test('a manifest of our own that we replace while we look deposes nobody', async () => {
  let newest = 2;
  const branch = await createBranch(async (number) => {
    if (number !== 3) return;
    await branch.publish(4, OWN);
    branch.remove(3);
    newest = 4;
  });
  await branch.publish(3, OWN);
  await branch.look(() => newest);
  assert.equal(newest, 4, 'it was replaced between listing and reading');
});

test('a manifest of a successor that is replaced while we look deposes us', async () => {
  const seen: number[] = [];
  const branch = await createBranch(async (number) => {
    seen.push(number);
    branch.remove(number);
  });
  await branch.publish(3, SUCCESSOR);
  await assert.rejects(
    branch.look(() => 2),
    { kind: 'fenced', message: /we are 4/ },
  );
  assert.deepEqual(seen, [3]);
});

test('a manifest of our own that is the highest does not hide one behind it', async () => {
  const branch = await createBranch(async (number) => {
    if (number !== 3) return;
    // What was listed was the successor's: it has moved on, and our put found the number free.
    branch.remove(3);
    await branch.publish(3, OWN);
    await branch.publish(4, SUCCESSOR);
  });
  await branch.publish(3, SUCCESSOR);
  await assert.rejects(
    branch.look(() => 2),
    { kind: 'fenced' },
  );
});

test('manifests of our own alone depose nobody', async () => {
  const branch = await createBranch(async () => {});
  await branch.look(() => 2);
  await branch.publish(3, OWN);
  await branch.publish(4, OWN);
  await branch.look(() => 2);
});

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Seen } from './seen.ts';

const VERIFIER = '5f0c1b2a3d4e5f60';
const BRANCH = { storeId: 'store', branch: 'main' };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'varve-seen-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** As a server sees it that found the branch so, and claimed the next epoch. */
function opened(epoch: number, manifest: number, acceptRollback = false): Seen {
  const seen = new Seen(dir);
  seen.check({ ...BRANCH, epoch, manifest }, acceptRollback);
  return seen;
}

test('a clean end counts for the next epoch, once', async () => {
  await opened(0, 1).note(1, 2);
  await opened(1, 2).note(2, 5, VERIFIER);
  assert.equal(opened(2, 5).endedClean(3), VERIFIER);
  assert.equal(opened(3, 6).endedClean(4), undefined, 'another server came in between');
  await opened(2, 5).note(3, 6);
  assert.equal(opened(3, 6).endedClean(4), undefined, 'it did not end cleanly');
});

test('what a rollback brings back is nobody’s clean end', async () => {
  await opened(1, 2).note(2, 5, VERIFIER);
  assert.throws(() => opened(2, 4), { kind: 'corrupt', message: /rolled/ });
  assert.equal(opened(2, 4, true).endedClean(3), undefined);
});

test('notes that overlap leave the last one', async () => {
  const seen = opened(1, 2);
  await Promise.all([seen.note(2, 3), seen.note(2, 4), seen.note(2, 4, VERIFIER)]);
  assert.equal(opened(2, 4).endedClean(3), VERIFIER);
  assert.throws(() => opened(2, 3), { kind: 'corrupt' });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../base/rng.ts';
import { GhostSet } from './ghost-set.ts';

const CAPACITY = 1024;

function randomHashes(count: number): number[] {
  const rng = createSeededRng(7);
  return Array.from({ length: count }, () => Math.floor(rng.float() * 2 ** 32) | 0);
}

test('a ghost set remembers most of its last hashes and none of the old ones', () => {
  const ghost = new GhostSet(CAPACITY);
  const hashes = randomHashes(CAPACITY * 4);
  for (const hash of hashes) ghost.add(hash);
  const remembered = hashes.map((hash) => ghost.take(hash));
  const recent = remembered.slice(-CAPACITY / 2).filter(Boolean).length;
  assert.ok(recent > (CAPACITY / 2) * 0.9, `${recent} of the last ${CAPACITY / 2}`);
  assert.equal(remembered.slice(0, -CAPACITY).filter(Boolean).length, 0);
});

test('a hash that was taken, or never added, is not remembered', () => {
  const ghost = new GhostSet(4);
  assert.equal(ghost.take(5), false);
  ghost.add(5);
  ghost.add(0);
  ghost.add(-1);
  for (const hash of [5, 0, -1]) {
    assert.equal(ghost.take(hash), true);
    assert.equal(ghost.take(hash), false);
  }
});

test('a hash that is added again is young again and takes one place', () => {
  const ghost = new GhostSet(4);
  for (let round = 0; round < 3; round++) ghost.add(1);
  for (const hash of [2, 3, 4]) ghost.add(hash);
  for (const hash of [1, 2, 3, 4]) assert.equal(ghost.take(hash), true, `hash ${hash}`);
  ghost.add(1);
  for (const hash of [2, 3, 1, 4, 5]) ghost.add(hash);
  assert.equal(ghost.take(1), true);
});

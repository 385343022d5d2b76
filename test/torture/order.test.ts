import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prefixOf } from './order.ts';

const BLOCKS = 1024;
const WORDS = 512;
const MAGIC = 0x6f72646572n;

/** The volume after `count` writes. */
function volumeAfter(count: number): BigUint64Array {
  const words = new BigUint64Array(BLOCKS * WORDS);
  for (let n = Math.max(1, count - BLOCKS + 1); n <= count; n++) put(words, n % BLOCKS, n);
  return words;
}

function put(words: BigUint64Array, block: number, n: number): void {
  for (let i = 0; i < WORDS; i += 2) {
    words[block * WORDS + i] = MAGIC;
    words[block * WORDS + i + 1] = BigInt(n);
  }
}

function bytes(words: BigUint64Array): Uint8Array {
  return new Uint8Array(words.buffer);
}

test('the state after any number of writes is recognised', () => {
  for (const count of [0, 1, 1023, 1024, 1025, 5000]) {
    assert.equal(prefixOf(bytes(volumeAfter(count))), count);
  }
});

test('a write without those before it, an old block, a torn or foreign one are not', () => {
  const early = volumeAfter(5000);
  put(early, 5002 % BLOCKS, 5002);
  assert.throws(() => prefixOf(bytes(early)), /5002 is there, but block \d+ holds 3977, not 5001/);
  const old = volumeAfter(5000);
  put(old, 4990 % BLOCKS, 4990 - BLOCKS);
  assert.throws(() => prefixOf(bytes(old)), /5000 is there, but block 894 holds 3966, not 4990/);
  const torn = volumeAfter(5000);
  torn[77 * WORDS + 301]! += 1n;
  assert.throws(() => prefixOf(bytes(torn)), /block 77 is torn/);
  const foreign = volumeAfter(0);
  foreign.fill(7n, 0, WORDS);
  assert.throws(() => prefixOf(bytes(foreign)), /block 0 holds what nobody wrote/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from './rng.ts';

function draw(seed: number): number[] {
  const rng = createSeededRng(seed);
  return [...rng.bytes(8), rng.float(), rng.float(), ...rng.bytes(3)];
}

test('one seed is one sequence, whatever else is drawn elsewhere', () => {
  const other = createSeededRng(1);
  const rng = createSeededRng(1);
  const first = draw(1);
  other.float();
  assert.deepEqual([...rng.bytes(8), rng.float(), rng.float(), ...rng.bytes(3)], first);
});

test('the sequence of a seed never changes: kept failures must replay', () => {
  assert.equal(Buffer.from(createSeededRng(0).bytes(8)).toString('hex'), 'e34303ac0883065e');
  assert.equal(Buffer.from(createSeededRng(12345).bytes(8)).toString('hex'), '1e1afcdfea4fe27c');
  assert.equal(createSeededRng(7).float(), 0.23382771760225296);
});

test('seeds that lie side by side give sequences that do not', () => {
  const sequences = new Set<string>();
  for (let seed = -500; seed < 500; seed++) {
    sequences.add(Buffer.from(createSeededRng(seed).bytes(6)).toString('hex'));
  }
  assert.equal(sequences.size, 1000);
});

test('floats are spread evenly over [0, 1), and bytes over all values', () => {
  const rng = createSeededRng(99);
  const tenths = new Uint32Array(10);
  for (let count = 0; count < 10_000; count++) {
    const value = rng.float();
    assert.ok(value >= 0 && value < 1);
    tenths[Math.floor(value * 10)]! += 1;
  }
  for (const count of tenths) assert.ok(count > 850 && count < 1150, `${count} in a tenth`);
  assert.equal(new Set(rng.bytes(4096)).size, 256);
  assert.equal(rng.bytes(0).length, 0);
});

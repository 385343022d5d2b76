import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../base/system.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { ByteBudget, type Holder } from './byte-budget.ts';
import { STALLED_MS } from './limits.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const holder: Holder = { stalled: () => false, evict: assert.fail };

test('those who wait are woken in turn, as far as there is room', async () => {
  const budget = new ByteBudget(10, systemClock);
  const woken: string[] = [];
  let bytes = 0;
  const hold = (after: number): void => {
    budget.change(holder, bytes, after);
    bytes = after;
  };
  hold(12);
  for (const name of ['a', 'b', 'c']) {
    budget.whenFree(() => {
      woken.push(name);
      hold(bytes + 10);
    });
  }
  hold(10);
  await tick();
  assert.deepEqual(woken, [], 'it is full still');
  hold(9);
  await tick();
  assert.deepEqual(woken, ['a']);
  hold(9);
  await tick();
  assert.deepEqual(woken, ['a', 'b']);
});

test('whoever is forgotten is not woken', async () => {
  const budget = new ByteBudget(1, systemClock);
  budget.change(holder, 0, 1);
  const wake = (): void => assert.fail('it is gone');
  budget.whenFree(wake);
  budget.forget(wake);
  budget.change(holder, 1, 0);
  await tick();
  assert.equal(budget.full, false);
});

test('while somebody waits, those who hold something are looked at, and nobody else', () => {
  const clock = createManualClock();
  const budget = new ByteBudget(1, clock);
  const evicted: string[] = [];
  const lazy = (name: string): Holder => ({
    stalled: () => true,
    evict: () => void evicted.push(name),
  });
  const [gone, there] = [lazy('gone'), lazy('there')];
  budget.change(gone, 0, 5);
  budget.change(gone, 5, 0);
  budget.change(there, 0, 5);
  assert.equal(clock.pending(), 0, 'nobody waits');
  const wake = (): void => {};
  budget.whenFree(wake);
  budget.whenFree(wake);
  assert.equal(clock.pending(), 1, 'one look at a time');
  clock.advance(STALLED_MS);
  assert.deepEqual(evicted, ['there']);
  assert.equal(budget.evictions, 1);
  budget.forget(wake);
  clock.advance(STALLED_MS);
  assert.equal(clock.pending(), 0, 'nobody waits any more');
});

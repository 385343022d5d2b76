import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteBudget } from './byte-budget.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('those who wait are woken in turn, as far as there is room', async () => {
  const budget = new ByteBudget(10);
  const woken: string[] = [];
  budget.add(12);
  for (const name of ['a', 'b', 'c']) {
    budget.whenFree(() => {
      woken.push(name);
      budget.add(10);
    });
  }
  budget.remove(2);
  await tick();
  assert.deepEqual(woken, [], 'it is full still');
  budget.remove(1);
  await tick();
  assert.deepEqual(woken, ['a']);
  budget.remove(10);
  await tick();
  assert.deepEqual(woken, ['a', 'b']);
});

test('whoever is forgotten is not woken', async () => {
  const budget = new ByteBudget(1);
  budget.add(1);
  const wake = (): void => assert.fail('it is gone');
  budget.whenFree(wake);
  budget.forget(wake);
  budget.remove(1);
  await tick();
  assert.equal(budget.full, false);
});

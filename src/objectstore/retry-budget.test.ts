import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from './testing-store.ts';
import { createStillClock, type ManualClock } from './manual-clock.ts';
import { RETRY_BUDGET, RetryBudget, type RetryBudgetSettings } from './retry-budget.ts';

interface Bench {
  readonly clock: ManualClock;
  readonly budget: RetryBudget;
  /** Names of those who were let go, in order. */
  readonly granted: readonly string[];
  readonly ask: (name: string, isUrgent?: boolean, withinMs?: number) => void;
  /** Moves time in steps of a tenth of a second, so that what waits for it comes to pass. */
  readonly pass: (ms: number) => Promise<void>;
}

function bench(settings: Partial<RetryBudgetSettings> = {}): Bench {
  const clock = createStillClock();
  const budget = new RetryBudget(clock, { ...RETRY_BUDGET, tokensMax: 2, ...settings });
  const granted: string[] = [];
  const ask = (name: string, isUrgent = true, withinMs = Infinity): void => {
    void budget.take(isUrgent, withinMs, undefined).then((isGranted) => {
      granted.push(isGranted ? name : `not ${name}`);
    });
  };
  const pass = async (ms: number): Promise<void> => {
    await clock.yieldTurn();
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await clock.yieldTurn();
    }
  };
  return { clock, budget, granted, ask, pass };
}

describe('the budget of retries', () => {
  it('lets go what is saved up, then a trickle, in order', async () => {
    const b = bench();
    for (const name of ['a', 'b', 'c', 'd', 'e']) b.ask(name);
    await b.pass(0);
    assert.deepEqual(b.granted, ['a', 'b']);
    await b.pass(100);
    assert.deepEqual(b.granted, ['a', 'b', 'c']);
    await b.pass(200);
    assert.deepEqual(b.granted, ['a', 'b', 'c', 'd', 'e']);
    await b.pass(10_000);
    for (const name of ['f', 'g', 'h']) b.ask(name);
    await b.pass(0);
    assert.deepEqual(b.granted.slice(5), ['f', 'g'], 'no more than the maximum is saved');
  });

  it('earns by successes', async () => {
    const b = bench({ retriesPerSecond: 0.001 });
    for (let i = 0; i < 6; i++) b.ask(`${i}`);
    for (let i = 0; i < 4; i++) b.budget.onSuccess(false);
    await b.pass(0);
    assert.equal(b.granted.length, 2);
    b.budget.onSuccess(false);
    await b.pass(0);
    assert.equal(b.granted.length, 3);
    b.budget.onSuccess(true);
    await b.pass(0);
    assert.equal(b.granted.length, 4);
  });

  it('lets those go first whom somebody waits for', async () => {
    const b = bench();
    b.ask('a', false);
    b.ask('b', false);
    b.ask('background', false);
    b.ask('client', true);
    await b.pass(200);
    assert.deepEqual(b.granted, ['a', 'b', 'client', 'background']);
  });

  it('lets one probe a second through in an outage, whatever was saved up', async () => {
    const b = bench({ tokensMax: 32 });
    b.budget.setOutage(true);
    for (let i = 0; i < 100; i++) b.ask(`${i}`);
    await b.pass(60_000);
    assert.ok(Math.abs(b.granted.length - 61) <= 1, `${b.granted.length} probes in a minute`);
  });

  it('doubles with each round trip after an outage, until a failure', async () => {
    const b = bench({ tokensMax: 32, retriesPerSecond: 0.001 });
    b.budget.setOutage(true);
    for (let i = 0; i < 100; i++) b.ask(`${i}`);
    await b.pass(0);
    assert.equal(b.granted.length, 1);
    b.budget.setOutage(false);
    let answered = 0;
    for (const total of [3, 7, 15, 31]) {
      for (const upTo = b.granted.length; answered < upTo; answered++) b.budget.onSuccess(true);
      await b.pass(0);
      assert.equal(b.granted.length, total);
    }
    b.budget.onFailure(-1);
    b.budget.onSuccess(true);
    await b.pass(0);
    assert.equal(b.granted.length, 33, 'an attempt of the outage says nothing about now');
    b.budget.onFailure(b.clock.monotonicMs());
    b.budget.onSuccess(true);
    await b.pass(0);
    assert.equal(b.granted.length, 34);
  });

  it('refuses who runs out of time, and forgets who gives up', async () => {
    const b = bench({ retriesPerSecond: 0.5 });
    b.ask('a');
    b.ask('b');
    const controller = new AbortController();
    const aborted = b.budget.take(true, Infinity, controller.signal);
    b.ask('late', true, 1000);
    b.ask('in time', true, 3000);
    controller.abort();
    await rejectsWith(aborted, 'aborted');
    await b.pass(3000);
    assert.deepEqual(b.granted, ['a', 'b', 'not late', 'in time']);
    assert.equal(b.budget.waiting, 0);
    await b.pass(2000);
    assert.equal(b.clock.pending(), 0, 'no timer is left behind');
    await rejectsWith(b.budget.take(true, Infinity, controller.signal), 'aborted');
  });
});

// A clock for tests: time stands still until the test moves it, or a sleep jumps over it.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';

export interface ManualClock extends Clock {
  /** Moves time on and calls what has become due, in order of its time. */
  advance(ms: number): void;
  /** How long each sleep was, in order. */
  readonly sleeps: readonly number[];
  /** How many `after` callbacks wait. */
  pending(): number;
}

export function createManualClock(): ManualClock {
  let nowMs = 0;
  const sleeps: number[] = [];
  const timers = new Set<{ readonly dueMs: number; readonly callback: () => void }>();

  function advance(ms: number): void {
    nowMs += ms;
    const due = [...timers].filter((timer) => timer.dueMs <= nowMs);
    due.sort((a, b) => a.dueMs - b.dueMs);
    for (const timer of due) {
      if (timers.delete(timer)) timer.callback();
    }
  }

  return {
    monotonicMs: () => nowMs,
    unixMs: () => 1_700_000_000_000 + nowMs,
    // A sleep takes no time at all, but the clock shows that it did.
    async sleep(ms, signal) {
      if (signal?.aborted === true) throw new StorageError('aborted', 'gave up while waiting');
      sleeps.push(ms);
      advance(ms);
    },
    after(ms, callback) {
      const timer = { dueMs: nowMs + ms, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    yieldTurn: () => new Promise<void>((resolve) => setImmediate(resolve)),
    advance,
    sleeps,
    pending: () => timers.size,
  };
}

/** One whose sleeps end when a test moves time, not at once. */
export function createStillClock(): ManualClock {
  const clock = createManualClock();
  return {
    ...clock,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const onAbort = (): void => {
          cancel();
          reject(new StorageError('aborted', 'gave up while waiting'));
        };
        const cancel = clock.after(ms, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        if (signal?.aborted === true) onAbort();
        else signal?.addEventListener('abort', onAbort, { once: true });
      }),
  };
}

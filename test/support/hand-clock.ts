// A clock whose timers fire when a test says that time has passed.

import type { Clock } from '../../src/base/clock.ts';
import { systemClock } from '../../src/base/system.ts';

export interface HandClock extends Clock {
  /** Timers that wait. */
  readonly timers: number;
  pass(ms: number): void;
}

export function createHandClock(): HandClock {
  let now = 0;
  let timers: { readonly at: number; readonly callback: () => void }[] = [];
  return {
    ...systemClock,
    get timers() {
      return timers.length;
    },
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => void (timers = timers.filter((one) => one !== timer));
    },
    pass(ms) {
      now += ms;
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { callback } of due) callback();
    },
  };
}

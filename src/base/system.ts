// The real clock and the real randomness: the one file of the core that may touch them. Only the
// composition root, tools and tests import it; everything else receives a Clock or an Rng.

import { randomBytes } from 'node:crypto';
import type { Clock } from './clock.ts';
import { StorageError } from './errors.ts';
import type { Rng } from './rng.ts';

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  unixMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise<void>((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(
          new StorageError('aborted', 'gave up before the wait began', { cause: signal.reason }),
        );
        return;
      }
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(new StorageError('aborted', 'gave up while waiting', { cause: signal?.reason }));
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  yieldTurn: () => new Promise<void>((resolve) => setImmediate(resolve)),
};

export const systemRng: Rng = {
  bytes: (count) => randomBytes(count),
  float: () => Math.random(),
};

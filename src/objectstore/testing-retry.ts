// For tests of retry.ts: a retrying store over a memory store that fails as told.

import { StorageError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { createSeededRng } from '../base/rng.ts';
import { createManualClock, type ManualClock } from './manual-clock.ts';
import { createMemoryStore, type MemoryStore } from './memory.ts';
import type { ObjectStore } from './object-store.ts';
import { type RetryingStore, type RetrySettings, withRetry } from './retry.ts';

export const unavailable = new StorageError('unavailable', 'try again');

export interface Bench {
  readonly memory: MemoryStore;
  readonly clock: ManualClock;
  readonly store: RetryingStore;
  readonly settings: RetrySettings;
}

/** A retrying store over `wrap(memory)`. */
export function bench(
  wrap: (memory: MemoryStore, clock: ManualClock) => ObjectStore,
  settings: Partial<RetrySettings> = {},
  clock: ManualClock = createManualClock(),
): Bench {
  const memory = createMemoryStore({ pageKeys: 2 });
  const all: RetrySettings = {
    clock,
    rng: createSeededRng(1),
    log: silentLog,
    attemptTimeoutMs: 1000,
    totalDeadlineMs: 60_000,
    baseDelayMs: 50,
    maxDelayMs: 2000,
    ...settings,
  };
  return { memory, clock, store: withRetry(wrap(memory, clock), all), settings: all };
}

/** Fails the first `failures` puts with `error`, before or after they happen. */
export function failingPuts(failures: number, happens: boolean, error: Error = unavailable) {
  return (memory: MemoryStore): ObjectStore => {
    let left = failures;
    return {
      ...memory,
      async putIfAbsent(key, body, opts) {
        if (left-- > 0) {
          if (happens) await memory.putIfAbsent(key, body, opts);
          throw error;
        }
        await memory.putIfAbsent(key, body, opts);
      },
    };
  };
}

/** Never answers; gives up when the signal says so, as a store must. */
export function never(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const refuse = (): void => reject(new StorageError('aborted', 'gave up'));
    if (signal?.aborted === true) refuse();
    signal?.addEventListener('abort', refuse, { once: true });
  });
}

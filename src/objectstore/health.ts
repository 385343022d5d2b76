// Whether the store answers at all, as seen from the attempts that retry.ts makes.
//
//     attempt fails ──▶ a streak: failures in a row, since when nothing got through
//                          └─ FAILURES_MIN of them, over AFTER_MS: an outage began ──▶ listeners,
//                          log
//     attempt is answered ──▶ the streak is over, and the outage with it ──▶ listeners, log
//
// One event when an outage begins and one when it ends, however many requests it met. An answer is
// anything that only a store that works can say, `exists` and `notFound` too. Nothing here has a
// timer: without requests there is no news.

import type { Clock } from '../base/clock.ts';
import { messageOf, type StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';

/** One request that hangs is not an outage. */
const FAILURES_MIN = 2;
/** A store that restarts a node, or a connection that breaks with all requests on it, is none. */
const AFTER_MS = 2000;

/** Plain data but for the error. */
export interface StoreHealthStatus {
  /** An outage: for a while now, nothing has got through. */
  readonly failing: boolean;
  /** Of the monotonic clock: since when nothing has got through; undefined while all is well. */
  readonly sinceMs: number | undefined;
  readonly consecutiveFailures: number;
  readonly lastError: StorageError | undefined;
}

/** What others may know. */
export interface StoreHealth {
  status(): StoreHealthStatus;
  /**
   * Tells of the beginning and the end of outages, in the turn in which they are noticed. A
   * listener must not throw. The returned function ends it.
   */
  onChange(listener: (status: StoreHealthStatus) => void): () => void;
}

/** What attempts report to. */
export class HealthTracker implements StoreHealth {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<(status: StoreHealthStatus) => void>();
  #answeredMs = -Infinity;
  #failing = false;
  #sinceMs: number | undefined;
  #failures = 0;
  #lastError: StorageError | undefined;

  constructor(components: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = components.clock;
    this.#log = components.log;
  }

  status(): StoreHealthStatus {
    return {
      failing: this.#failing,
      sinceMs: this.#sinceMs,
      consecutiveFailures: this.#failures,
      lastError: this.#lastError,
    };
  }

  onChange(listener: (status: StoreHealthStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The store has answered an attempt. */
  answered(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#answeredMs = nowMs;
    if (this.#failures === 0) return;
    const { failing, sinceMs = nowMs, consecutiveFailures: failures } = this.status();
    this.#failing = false;
    this.#sinceMs = undefined;
    this.#failures = 0;
    this.#lastError = undefined;
    if (!failing) return;
    this.#log.info('store.outage.ended', { durationMs: Math.round(nowMs - sinceMs), failures });
    this.#tell();
  }

  /** An attempt that began at `startedMs` failed for the store's sake. */
  failed(error: StorageError, startedMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#failures += 1;
    this.#lastError = error;
    // An answer during the attempt says that the store was well up to then.
    this.#sinceMs ??= Math.max(startedMs, this.#answeredMs);
    if (this.#failing || this.#failures < FAILURES_MIN) return;
    if (nowMs - this.#sinceMs < AFTER_MS) return;
    this.#failing = true;
    this.#log.warn('store.outage.began', {
      forMs: Math.round(nowMs - this.#sinceMs),
      failures: this.#failures,
      kind: error.kind,
      reason: messageOf(error),
    });
    this.#tell();
  }

  #tell(): void {
    const status = this.status();
    for (const listener of this.#listeners) listener(status);
  }
}

// How often a store is tried again, all its requests together: a bucket of tokens, one for each
// retry. A store that is overloaded, or comes back from an outage, must not be trampled by everyone
// who waits for it. First attempts are free: callers are bounded, and who waits begins no other.
//
//     the store        tokens come from                                     so
//     answers          each first success 0.2, each retried one 1,          an errors' rate of 30 %
//                      and `retriesPerSecond`                               costs no throughput
//     is out           `probesPerSecond`                                    one probe at a time
//     is back          each success `perRecovery`, until a failure         those who wait go, twice
//                                                                           as many each round trip
//
// With an empty bucket retries wait in line, never fail: first those that somebody waits for. Time
// is the Clock's, and nothing is random.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';

export interface RetryBudgetSettings {
  /** Retries at once after a quiet time. */
  readonly tokensMax: number;
  readonly retriesPerSecond: number;
  /** In an outage. */
  readonly probesPerSecond: number;
  readonly perSuccess: number;
  readonly perRetriedSuccess: number;
  readonly perRecovery: number;
}

export const RETRY_BUDGET: RetryBudgetSettings = {
  tokensMax: 32,
  retriesPerSecond: 10,
  probesPerSecond: 1,
  perSuccess: 0.2,
  perRetriedSuccess: 1,
  perRecovery: 2,
};

/** A timer that is set for longer fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

interface Waiter {
  readonly settle: (granted: boolean) => void;
}

export class RetryBudget {
  readonly #clock: Clock;
  readonly #settings: RetryBudgetSettings;
  readonly #urgent = new Set<Waiter>();
  readonly #patient = new Set<Waiter>();
  #tokens: number;
  #refilledMs: number;
  #isOut = false;
  /** When the last outage ended, while those who waited for it are let go. */
  #recoveringSinceMs: number | undefined;
  #isPumping = false;

  constructor(clock: Clock, settings: RetryBudgetSettings) {
    this.#clock = clock;
    this.#settings = settings;
    this.#tokens = settings.tokensMax;
    this.#refilledMs = clock.monotonicMs();
  }

  get waiting(): number {
    return this.#urgent.size + this.#patient.size;
  }

  /**
   * Resolves true when a retry may begin, false when `withinMs` have passed before (may be
   * Infinity). Rejects with `aborted` when the signal fires.
   */
  take(isUrgent: boolean, withinMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(givenUp());
      const line = isUrgent ? this.#urgent : this.#patient;
      const leave = (): void => {
        line.delete(waiter);
        cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        settle: (granted) => {
          leave();
          resolve(granted);
        },
      };
      const onAbort = (): void => {
        leave();
        reject(givenUp());
      };
      const cancel =
        withinMs > TIMER_MS_MAX
          ? (): void => {}
          : this.#clock.after(withinMs, () => waiter.settle(false));
      signal?.addEventListener('abort', onAbort, { once: true });
      line.add(waiter);
      this.#serve();
      if (!this.#isPumping && this.waiting > 0) void this.#pump();
    });
  }

  onSuccess(wasRetried: boolean): void {
    const { perSuccess, perRetriedSuccess, perRecovery } = this.#settings;
    this.#refill();
    if (this.#recoveringSinceMs !== undefined) this.#tokens += perRecovery;
    else this.#tokens += wasRetried ? perRetriedSuccess : perSuccess;
    this.#serve();
    if (this.waiting === 0) this.#recoveringSinceMs = undefined;
  }

  onFailure(startedMs: number): void {
    // An attempt from the outage itself says nothing about the store as it is now.
    if (startedMs >= (this.#recoveringSinceMs ?? Infinity)) this.#recoveringSinceMs = undefined;
  }

  /** An outage begins or ends. */
  setOutage(isOut: boolean): void {
    this.#refill();
    this.#isOut = isOut;
    this.#recoveringSinceMs = isOut ? undefined : this.#clock.monotonicMs();
  }

  get #perSecond(): number {
    return this.#isOut ? this.#settings.probesPerSecond : this.#settings.retriesPerSecond;
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    const trickled = ((nowMs - this.#refilledMs) / 1000) * this.#perSecond;
    // What was saved up before an outage would go at once.
    const max = this.#isOut ? 1 : this.#settings.tokensMax;
    this.#tokens = Math.min(max, this.#tokens + trickled);
    this.#refilledMs = nowMs;
  }

  #serve(): void {
    this.#refill();
    for (const line of [this.#urgent, this.#patient]) {
      for (const waiter of line) {
        if (this.#tokens < 1) return;
        this.#tokens -= 1;
        waiter.settle(true);
      }
    }
  }

  /**
   * Serves those who wait as tokens trickle in. Its sleep also keeps the process alive for them.
   */
  async #pump(): Promise<void> {
    this.#isPumping = true;
    while (this.waiting > 0) {
      const missing = Math.max(0, 1 - this.#tokens);
      await this.#clock.sleep(Math.ceil((missing / this.#perSecond) * 1000));
      this.#serve();
    }
    this.#isPumping = false;
  }
}

function givenUp(): StorageError {
  return new StorageError('aborted', 'gave up waiting for another try');
}

// The attempts of one request: how long each may take, when the next one may begin, and when there
// shall be none. What they meet goes to the health of the store and to the budget of retries, which
// all requests of the store share.
//
//     failure ──▶ random × min(max, base × 2^n) + what the store asked for ──▶ a token ──▶ attempt

import type { Clock } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Rng } from '../base/rng.ts';
import type { HealthTracker } from './health.ts';
import { laneOf } from './lanes.ts';
import type { RequestCause, RequestOptions } from './object-store.ts';
import type { RetryBudget, RetryBudgetSettings } from './retry-budget.ts';

/**
 * 2^30 × any base is past any sensible maximum: a bound for the exponent, not for the number of
 * attempts.
 */
const BACKOFF_DOUBLINGS_MAX = 30;

/** However long a store wants to be left alone: it may have been wrong. */
const RETRY_AFTER_MS_MAX = 30_000;

export interface AttemptLimits {
  /**
   * An attempt that has not ended by then is given up and tried again. For a listing: each page.
   * With a shorter one by cause, it doubles with each attempt up to the general one: one request
   * that was lost costs little, and a store that is slow is not given up again and again.
   */
  readonly attemptTimeoutMs: number;
  /** No attempt begins or goes on past this, counted from the first; may be Infinity. */
  readonly totalDeadlineMs: number;
}

export interface RetrySettings extends AttemptLimits {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** Other limits for requests of a cause: a client that reads waits less long than a barrier. */
  readonly byCause?: Readonly<Partial<Record<RequestCause, Partial<AttemptLimits>>>>;
  /** The first pause is random in [0, this). */
  readonly baseDelayMs: number;
  /** No pause is longer, unless the store asks for more. */
  readonly maxDelayMs: number;
  /** RETRY_BUDGET unless given. */
  readonly budget?: RetryBudgetSettings;
}

/** What all requests of one store share. */
export interface RetryState {
  readonly settings: RetrySettings;
  readonly health: HealthTracker;
  readonly budget: RetryBudget;
}

export class Attempts {
  readonly #state: RetryState;
  readonly #limits: AttemptLimits;
  readonly #what: string;
  readonly #isUrgent: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #startedMs: number;
  #attemptStartedMs: number;
  #failures = 0;

  constructor(state: RetryState, what: string, { cause, signal }: RequestOptions) {
    const { attemptTimeoutMs, totalDeadlineMs, byCause, clock } = state.settings;
    this.#state = state;
    this.#limits = { attemptTimeoutMs, totalDeadlineMs, ...byCause?.[cause] };
    this.#what = what;
    this.#isUrgent = laneOf(cause) !== 'background';
    this.#signal = signal;
    this.#startedMs = this.#attemptStartedMs = clock.monotonicMs();
  }

  #remainingMs(): number {
    const { totalDeadlineMs } = this.#limits;
    return totalDeadlineMs - (this.#state.settings.clock.monotonicMs() - this.#startedMs);
  }

  /** An attempt begins now; gives how long it may take. */
  begin(): number {
    this.#attemptStartedMs = this.#state.settings.clock.monotonicMs();
    const { attemptTimeoutMs: first } = this.#limits;
    const most = Math.max(first, this.#state.settings.attemptTimeoutMs);
    const patience = Math.min(most, first * 2 ** Math.min(this.#failures, BACKOFF_DOUBLINGS_MAX));
    return Math.max(1, Math.min(patience, this.#remainingMs()));
  }

  succeeded(): void {
    this.#state.health.answered();
    this.#state.budget.onSuccess(this.#failures > 0);
  }

  /** Waits until the next attempt may begin, or throws `error` when there shall be none. */
  async pauseOrThrow(error: unknown): Promise<void> {
    const { health, budget, settings } = this.#state;
    if (!(error instanceof StorageError)) throw error;
    if (isAnswer(error)) this.succeeded();
    else if (error.retryable || error.kind === 'denied') {
      health.failed(error, this.#attemptStartedMs);
      budget.onFailure(this.#attemptStartedMs);
    }
    if (!error.retryable) throw error;
    const delayMs = this.#nextDelayMs(error);
    if (delayMs >= this.#remainingMs()) throw this.#gaveUp(error);
    settings.log.debug('store.retry', {
      request: this.#what,
      failures: this.#failures,
      kind: error.kind,
      reason: messageOf(error),
      delayMs: Math.round(delayMs),
    });
    await settings.clock.sleep(delayMs, this.#signal);
    const isGranted = await budget.take(this.#isUrgent, this.#remainingMs(), this.#signal);
    if (!isGranted) throw this.#gaveUp(error);
  }

  #nextDelayMs(error: StorageError): number {
    const { baseDelayMs, maxDelayMs, rng } = this.#state.settings;
    const doublings = Math.min(this.#failures, BACKOFF_DOUBLINGS_MAX);
    this.#failures += 1;
    const jitterMs = rng.float() * Math.min(maxDelayMs, baseDelayMs * 2 ** doublings);
    // What the store asks for leaves time for another attempt, in case that the store has it then.
    const askedMs = Math.min(error.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX, this.#remainingMs() / 2);
    return Math.max(0, askedMs) + jitterMs;
  }

  #gaveUp(error: StorageError): StorageError {
    return new StorageError(
      error.kind,
      `gave up after ${this.#failures} attempts: ${error.message}`,
      { retryable: error.retryable, cause: error },
    );
  }
}

/** Only a store that works says so. */
function isAnswer(error: StorageError): boolean {
  return error.kind === 'exists' || error.kind === 'notFound';
}

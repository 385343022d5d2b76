// Leaves a failing disk alone for a while. Open: nothing is tried until the time has come; then one
// success closes it, one more failure keeps it open.

import type { Clock } from '../../base/clock.ts';

export const RETRY_MS = 60_000;

export class Breaker {
  readonly #clock: Clock;
  #retryAtMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get failed(): boolean {
    return this.#retryAtMs !== undefined;
  }

  mayTry(): boolean {
    return this.#retryAtMs === undefined || this.#clock.monotonicMs() >= this.#retryAtMs;
  }

  fail(): void {
    this.#retryAtMs = this.#clock.monotonicMs() + RETRY_MS;
  }

  succeed(): void {
    this.#retryAtMs = undefined;
  }
}

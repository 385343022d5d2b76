// A caller's abort signal joined with a time limit that the Clock owns, so that the simulator can
// move it.
//
// An AbortSignal says only that it fired. `explain` tells apart why: the caller gave up (`aborted`,
// final) or the time ran out (`unavailable`, worth another try).

import type { Clock } from '../base/clock.ts';
import { isStorageError, StorageError } from '../base/errors.ts';

export class Deadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #caller: AbortSignal | undefined;
  readonly #onCallerAbort = (): void => this.#controller.abort(this.#caller?.reason);
  #disarm: (() => void) | undefined;
  #expiredAfterMs: number | undefined;

  constructor(clock: Clock, caller: AbortSignal | undefined) {
    this.#clock = clock;
    this.#caller = caller;
    if (caller?.aborted === true) this.#onCallerAbort();
    else caller?.addEventListener('abort', this.#onCallerAbort, { once: true });
  }

  /** Fires when the caller gives up or the armed time runs out. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** True when the time ran out before the caller gave up. */
  get expired(): boolean {
    return this.#expiredAfterMs !== undefined;
  }

  /** Starts the time limit, in place of one that runs. */
  arm(ms: number): void {
    this.#disarm?.();
    this.#disarm = this.#clock.after(ms, () => {
      if (this.#controller.signal.aborted) return;
      this.#expiredAfterMs = ms;
      this.#controller.abort(new StorageError('unavailable', `no answer within ${ms} ms`));
    });
  }

  /** Stops the time limit; the caller's signal still counts. */
  disarm(): void {
    this.#disarm?.();
    this.#disarm = undefined;
  }

  /** Lets go of timer and listener. Must be called once the work is over. */
  dispose(): void {
    this.disarm();
    this.#caller?.removeEventListener('abort', this.#onCallerAbort);
  }

  /** The error to report for `error`, which the work failed with. */
  explain(error: unknown, what: string): unknown {
    if (this.#expiredAfterMs === undefined || !isStorageError(error, 'aborted')) return error;
    return new StorageError('unavailable', `${what}: no answer within ${this.#expiredAfterMs} ms`, {
      cause: error,
    });
  }
}

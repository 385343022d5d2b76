// Those who wait for segments, or for records of the journal, to become durable: barriers, which
// are told when the store fails, and the flush of the memtable, which goes on waiting.

interface Waiter {
  readonly segment: number;
  readonly patient: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Waiters {
  #waiters: Waiter[] = [];

  /** Resolves once `segment` is durable. A patient one is rejected only when the log stops. */
  add(segment: number, patient: boolean): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#waiters.push({ segment, patient, resolve, reject });
    });
  }

  /** True when someone waits for `segment` or a later one. */
  wantsFrom(segment: number): boolean {
    return this.#waiters.some((waiter) => waiter.segment >= segment);
  }

  /** True when someone waits for `segment` or an earlier one. */
  wantsUpTo(segment: number): boolean {
    return this.#waiters.some((waiter) => waiter.segment <= segment);
  }

  /** Resolves all who wait for segments up to `durable`. */
  wake(durable: number): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.segment > durable);
    for (const waiter of waiters) if (waiter.segment <= durable) waiter.resolve();
  }

  /** The store has failed: tells those who are not patient. */
  refuse(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.patient);
    for (const waiter of waiters) if (!waiter.patient) waiter.reject(error);
  }

  /** The log has stopped: tells everyone. */
  refuseAll(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }
}

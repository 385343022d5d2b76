// Concurrent misses of one (segment, frame) share one fetch.
//
//   const flight = flights.join(segment, frame) ?? flights.start(segment, frame, fetch());
//   return await orAbort(flight, signal);
//
// Invariants:
//   1. A key has at most one fetch under way, and is forgotten as soon as that settles, before
//      anyone who waits for it goes on: whoever retries after a failure starts anew.
//   2. The fetch belongs to nobody: it must not carry one caller's signal. A caller who gives up
//      leaves by `orAbort`; the others, and the cache that the fetch fills, still get the bytes.

import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import { PairMap } from '../base/pair-map.ts';

export class SingleFlight<V> {
  readonly #index = new PairMap();
  readonly #flights: (Promise<V> | undefined)[] = [];
  readonly #free: number[] = [];

  /** Fetches under way. */
  get size(): number {
    return this.#index.size;
  }

  /** The fetch of this key that is under way. */
  join(high: number, low: number): Promise<V> | undefined {
    const at = this.#index.get(high, low);
    return at < 0 ? undefined : this.#flights[at];
  }

  /**
   * Shares `fetch` under a key that has none under way, and returns it. A failure that nobody waits
   * for is dropped here: the next reader meets it again on its own fetch.
   */
  start(high: number, low: number, fetch: Promise<V>): Promise<V> {
    assert(!this.#index.has(high, low), 'a key has one fetch under way');
    const at = this.#free.pop() ?? this.#flights.length;
    this.#flights[at] = fetch;
    this.#index.set(high, low, at);
    const forget = (): void => {
      this.#index.delete(high, low);
      this.#flights[at] = undefined;
      this.#free.push(at);
    };
    fetch.then(forget, forget);
    return fetch;
  }
}

/** Settles as `shared` does, or is `aborted` if the signal fires first, while `shared` goes on. */
export function orAbort<V>(shared: Promise<V>, signal: AbortSignal | undefined): Promise<V> {
  if (signal === undefined) return shared;
  return new Promise<V>((resolve, reject) => {
    const onAbort = (): void => {
      const cause: unknown = signal.reason;
      reject(new StorageError('aborted', 'gave up waiting for a shared fetch', { cause }));
    };
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

// Tries again what failed for a reason that may pass: full-jitter exponential backoff, a deadline
// for each attempt and one for the whole.
//
// Lost replies. A put whose reply was lost may have happened; the attempt after it then finds the
// key taken. So whenever a put ends in `exists`, the object is read back and compared with what was
// to be written: equal means that it is our own earlier attempt, and the put has succeeded;
// different means that it is somebody else's, and `exists` goes up. Objects carry random salts, so
// nobody else writes the same bytes.
//
//     attempt ── ok ─────────────────────────────▶ done
//        │ exists ── read back: equal ───────────▶ done
//        │              └────── different ───────▶ exists
//        │ retryable ── sleep(random × min(max, base × 2^n)) ──▶ attempt
//        └ anything else, or the whole deadline has passed ────▶ that error
//
// A put that fails with `unavailable`, `noSpace` or `aborted` may still have happened, or may
// happen yet. The wrapped store must settle soon after its signal fires: bodies are borrowed until
// it does.

import { assert } from '../base/assert.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { isStorageError, messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Rng } from '../base/rng.ts';
import { Deadline } from './deadline.ts';
import { bodyBytes, throwIfAborted } from './keys.ts';
import type { ListOptions, ObjectInfo, ObjectStore, RequestOptions } from './object-store.ts';

/**
 * How much of an object is read back first, after `exists`: enough to hold the salt of any object,
 * so that somebody else's object is told apart without reading it whole.
 */
const COMPARE_FIRST_BYTES = 4096;

/**
 * 2^30 × any base is past any sensible maximum: a bound for the exponent, not for the number of
 * attempts.
 */
const BACKOFF_DOUBLINGS_MAX = 30;

export interface RetrySettings {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /**
   * An attempt that has not ended by then is given up and tried again. For a listing: each page.
   */
  readonly attemptTimeoutMs: number;
  /** No attempt begins or goes on past this, counted from the first; may be Infinity. */
  readonly totalDeadlineMs: number;
  /** The first pause is random in [0, this). */
  readonly baseDelayMs: number;
  /** No pause is longer. */
  readonly maxDelayMs: number;
}

export function withRetry(store: ObjectStore, settings: RetrySettings): ObjectStore {
  assert(settings.attemptTimeoutMs > 0, 'an attempt has time');
  assert(settings.totalDeadlineMs > 0, 'a request has time');
  return {
    putIfAbsent: (key, body, options) =>
      persist(settings, `put of ${key}`, options, (attempt) =>
        putOrRecognise(store, key, body, attempt),
      ),
    get: (key, range, options) =>
      persist(settings, `get of ${key}`, options, (attempt) => store.get(key, range, attempt)),
    head: (key, options) =>
      persist(settings, `head of ${key}`, options, (attempt) => store.head(key, attempt)),
    list: (prefix, options) => listPersistently(store, settings, prefix, options),
    delete: (key, options) =>
      persist(settings, `delete of ${key}`, options, (attempt) => store.delete(key, attempt)),
    close: () => store.close(),
  };
}

async function persist<T>(
  settings: RetrySettings,
  what: string,
  options: RequestOptions,
  attempt: (options: RequestOptions) => Promise<T>,
): Promise<T> {
  const backoff = new Backoff(settings, what, options.signal);
  for (;;) {
    throwIfAborted(options.signal, what);
    const deadline = new Deadline(settings.clock, options.signal);
    deadline.arm(backoff.attemptMs());
    try {
      return await attempt({ ...options, signal: deadline.signal });
    } catch (error) {
      await backoff.pauseOrThrow(deadline.explain(error, what));
    } finally {
      deadline.dispose();
    }
  }
}

async function putOrRecognise(
  store: ObjectStore,
  key: string,
  body: readonly Uint8Array[],
  options: RequestOptions,
): Promise<void> {
  try {
    await store.putIfAbsent(key, body, options);
  } catch (error) {
    if (!isStorageError(error, 'exists')) throw error;
    if (!(await holdsExactly(store, key, body, options))) throw error;
  }
}

/** Is the object at `key` byte for byte `body`? An object that is gone by now is not. */
async function holdsExactly(
  store: ObjectStore,
  key: string,
  body: readonly Uint8Array[],
  options: RequestOptions,
): Promise<boolean> {
  const wanted = bodyBytes(body);
  try {
    // An empty object has no range to ask for.
    if (wanted === 0) return (await store.head(key, options))?.bytes === 0;
    const firstEnd = Math.min(wanted, COMPARE_FIRST_BYTES);
    const first = await store.get(key, { start: 0, end: firstEnd }, options);
    if (first.objectBytes !== wanted || !bodyMatches(body, 0, first.bytes)) return false;
    if (firstEnd === wanted) return true;
    const rest = await store.get(key, { start: firstEnd, end: wanted }, options);
    return rest.bytes.length === wanted - firstEnd && bodyMatches(body, firstEnd, rest.bytes);
  } catch (error) {
    // Gone, or empty where we wrote something: either way it is not what we wrote.
    if (isStorageError(error, 'notFound') || isStorageError(error, 'invalid')) return false;
    throw error;
  }
}

/**
 * Compares `bytes` with the body from offset `from` on, part by part, without joining the parts.
 */
function bodyMatches(body: readonly Uint8Array[], from: number, bytes: Uint8Array): boolean {
  const end = from + bytes.length;
  let partStart = 0;
  let compared = 0;
  for (const part of body) {
    const start = Math.max(from, partStart);
    const stop = Math.min(end, partStart + part.length);
    if (start < stop) {
      const ours = part.subarray(start - partStart, stop - partStart);
      if (!equalBytes(ours, bytes.subarray(start - from, stop - from))) return false;
      compared += stop - start;
    }
    partStart += part.length;
  }
  return compared === bytes.length;
}

/**
 * Goes on after the last key that was handed out. The time that the consumer takes does not count.
 */
async function* listPersistently(
  store: ObjectStore,
  settings: RetrySettings,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<readonly ObjectInfo[]> {
  const what = `list of ${prefix}`;
  let after = options.startAfter;
  let backoff = new Backoff(settings, what, options.signal);
  for (;;) {
    throwIfAborted(options.signal, what);
    const deadline = new Deadline(settings.clock, options.signal);
    const resume = after === undefined ? {} : { startAfter: after };
    const pages = store
      .list(prefix, { ...options, ...resume, signal: deadline.signal })
      [Symbol.asyncIterator]();
    try {
      for (;;) {
        deadline.arm(backoff.attemptMs());
        const page = await pages.next();
        deadline.disarm();
        if (page.done === true) return;
        after = page.value.at(-1)?.key ?? after;
        yield page.value;
        backoff = new Backoff(settings, what, options.signal);
      }
    } catch (error) {
      await backoff.pauseOrThrow(deadline.explain(error, what));
    } finally {
      deadline.dispose();
      await pages.return?.();
    }
  }
}

/** The clock of one request: when it began, how often it failed, how long to wait. */
class Backoff {
  readonly #settings: RetrySettings;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  readonly #startedMs: number;
  #failures = 0;

  constructor(settings: RetrySettings, what: string, signal: AbortSignal | undefined) {
    this.#settings = settings;
    this.#what = what;
    this.#signal = signal;
    this.#startedMs = settings.clock.monotonicMs();
  }

  #remainingMs(): number {
    const { clock, totalDeadlineMs } = this.#settings;
    return totalDeadlineMs - (clock.monotonicMs() - this.#startedMs);
  }

  /** How long the attempt that begins now may take. */
  attemptMs(): number {
    return Math.max(1, Math.min(this.#settings.attemptTimeoutMs, this.#remainingMs()));
  }

  /** Sleeps before the next attempt, or throws `error` when there shall be none. */
  async pauseOrThrow(error: unknown): Promise<void> {
    if (!(error instanceof StorageError) || !error.retryable) throw error;
    const { baseDelayMs, maxDelayMs, rng, log, clock } = this.#settings;
    const doublings = Math.min(this.#failures, BACKOFF_DOUBLINGS_MAX);
    const delayMs = rng.float() * Math.min(maxDelayMs, baseDelayMs * 2 ** doublings);
    this.#failures += 1;
    if (delayMs >= this.#remainingMs()) {
      throw new StorageError(
        error.kind,
        `gave up after ${this.#failures} attempts: ${error.message}`,
        { retryable: error.retryable, cause: error },
      );
    }
    log.warn('store.retry', {
      request: this.#what,
      failures: this.#failures,
      kind: error.kind,
      reason: messageOf(error),
      delayMs: Math.round(delayMs),
    });
    await clock.sleep(delayMs, this.#signal);
  }
}

// Tries again what failed for a reason that may pass: full-jitter exponential backoff, a deadline
// for each attempt and one for the whole (attempts.ts), a budget of retries for all requests
// together (retry-budget.ts), and an eye on whether the store answers at all (health.ts).
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
//        │ retryable ── backoff, then a token of the budget ──▶ attempt
//        └ anything else, or the whole deadline has passed ────▶ that error
//
// A put that fails with `unavailable`, `noSpace` or `aborted` may still have happened, or may
// happen yet. A get that came with fewer bytes than the range holds is no answer. The wrapped store
// must settle soon after its signal fires: bodies are borrowed until
// it does.

import { assert } from '../base/assert.ts';
import { equalBytes } from '../base/bytes.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import { Attempts, type RetrySettings, type RetryState } from './attempts.ts';
import { Deadline } from './deadline.ts';
import { HealthTracker, type StoreHealth } from './health.ts';
import { bodyBytes, resolveRange, throwIfAborted } from './keys.ts';
import type {
  ByteRange,
  GetResult,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from './object-store.ts';
import { RETRY_BUDGET, RetryBudget } from './retry-budget.ts';

export type { RetrySettings } from './attempts.ts';

/**
 * How much of an object is read back first, after `exists`: enough to hold the salt of any object,
 * so that somebody else's object is told apart without reading it whole.
 */
const COMPARE_FIRST_BYTES = 4096;

/** One store with one life: closing it closes the wrapped one. */
export interface RetryingStore extends ObjectStore {
  readonly health: StoreHealth;
}

export function withRetry(store: ObjectStore, settings: RetrySettings): RetryingStore {
  assert(settings.attemptTimeoutMs > 0, 'an attempt has time');
  assert(settings.totalDeadlineMs > 0, 'a request has time');
  const health = new HealthTracker(settings);
  const budget = new RetryBudget(settings.clock, settings.budget ?? RETRY_BUDGET);
  health.onChange(({ failing }) => budget.setOutage(failing));
  const state: RetryState = { settings, health, budget };
  return {
    health,
    putIfAbsent: (key, body, options) =>
      persist(state, `put of ${key}`, options, (attempt) =>
        putOrRecognise(store, key, body, attempt),
      ),
    get: (key, range, options) =>
      persist(state, `get of ${key}`, options, (attempt) => getWhole(store, key, range, attempt)),
    head: (key, options) =>
      persist(state, `head of ${key}`, options, (attempt) => store.head(key, attempt)),
    list: (prefix, options) => listPersistently(store, state, prefix, options),
    delete: (key, options) =>
      persist(state, `delete of ${key}`, options, (attempt) => store.delete(key, attempt)),
    close: () => store.close(),
  };
}

async function persist<T>(
  state: RetryState,
  what: string,
  options: RequestOptions,
  attempt: (options: RequestOptions) => Promise<T>,
): Promise<T> {
  const attempts = new Attempts(state, what, options);
  for (;;) {
    throwIfAborted(options.signal, what);
    const deadline = new Deadline(state.settings.clock, options.signal);
    deadline.arm(attempts.begin());
    try {
      const result = await attempt({ ...options, signal: deadline.signal });
      attempts.succeeded();
      return result;
    } catch (error) {
      deadline.disarm();
      await attempts.pauseOrThrow(deadline.explain(error, what));
    } finally {
      deadline.dispose();
    }
  }
}

/** What the store answers must have the length that its own size of the object says. */
async function getWhole(
  store: ObjectStore,
  key: string,
  range: ByteRange | undefined,
  options: RequestOptions,
): Promise<GetResult> {
  const result = await store.get(key, range, options);
  const { start, end } = resolveRange(key, range, result.objectBytes);
  const came = result.bytes.length;
  if (came === end - start) return result;
  throw new StorageError('unavailable', `get of ${key}: ${came} of ${end - start} bytes came`);
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
    const first = await getWhole(store, key, { start: 0, end: firstEnd }, options);
    if (first.objectBytes !== wanted || !bodyMatches(body, 0, first.bytes)) return false;
    if (firstEnd === wanted) return true;
    const rest = await getWhole(store, key, { start: firstEnd, end: wanted }, options);
    return rest.objectBytes === wanted && bodyMatches(body, firstEnd, rest.bytes);
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
  state: RetryState,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<readonly ObjectInfo[]> {
  const what = `list of ${prefix}`;
  let after = options.startAfter;
  let attempts = new Attempts(state, what, options);
  for (;;) {
    throwIfAborted(options.signal, what);
    const deadline = new Deadline(state.settings.clock, options.signal);
    const resume = after === undefined ? {} : { startAfter: after };
    const pages = store
      .list(prefix, { ...options, ...resume, signal: deadline.signal })
      [Symbol.asyncIterator]();
    try {
      for (;;) {
        deadline.arm(attempts.begin());
        const page = await pages.next();
        deadline.disarm();
        attempts.succeeded();
        if (page.done === true) return;
        after = page.value.at(-1)?.key ?? after;
        yield page.value;
        attempts = new Attempts(state, what, options);
      }
    } catch (error) {
      deadline.disarm();
      await attempts.pauseOrThrow(deadline.explain(error, what));
    } finally {
      deadline.dispose();
      await pages.return?.();
    }
  }
}

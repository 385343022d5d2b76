// Loops that make load, and the one that looks on meanwhile.

import { setTimeout as delay } from 'node:timers/promises';

/**
 * Keeps `depth` steps under way until `step` answers undefined. The first failure stops all loops
 * and is thrown once none is under way.
 */
export async function atDepth(
  depth: number,
  step: () => Promise<unknown> | undefined,
): Promise<void> {
  let failed = false;
  const loop = async (): Promise<void> => {
    for (;;) {
      const work = failed ? undefined : step();
      if (work === undefined) return;
      try {
        await work;
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: depth }, loop));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/**
 * Runs `body`, and `look` every `seconds` meanwhile, never two at one time. What `look` throws is
 * thrown when `body` has ended.
 */
export async function watching<T>(
  seconds: number,
  look: () => void | Promise<void>,
  body: () => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const watch = async (): Promise<void> => {
    for (;;) {
      try {
        await delay(seconds * 1000, undefined, { signal: over.signal });
      } catch {
        return;
      }
      await look();
    }
  };
  const watched = watch().then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  let result: T;
  try {
    result = await body();
  } finally {
    over.abort();
    await watched;
  }
  const failure = await watched;
  if (failure !== undefined) throw failure.error;
  return result;
}

/** Seconds since the call. */
export function stopwatch(): () => number {
  const start = performance.now();
  return () => (performance.now() - start) / 1000;
}

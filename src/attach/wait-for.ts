// Waits for what the kernel or a program does in its own time, and tells of by no event.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';

/** Short against what is waited for, long against what asking costs. */
const ASK_EVERY_MS = 20;

/** Throws `unavailable` with what was waited for. */
export async function waitFor(
  clock: Clock,
  what: string,
  timeoutMs: number,
  condition: () => boolean,
): Promise<void> {
  const deadline = clock.monotonicMs() + timeoutMs;
  while (!condition()) {
    if (clock.monotonicMs() > deadline) {
      throw new StorageError('unavailable', `waited ${timeoutMs / 1000} s in vain for ${what}`);
    }
    await clock.sleep(ASK_EVERY_MS);
  }
}

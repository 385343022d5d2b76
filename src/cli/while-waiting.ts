// A progress line for a command that waits for a running server.

import { systemClock } from '../base/system.ts';
import type { OnProgress } from '../server/http/report.ts';
import { createProgress } from './progress.ts';

/** Says on stderr what is waited for, from one second on. */
export function whileWaiting<T>(what: string, work: Promise<T>): Promise<T> {
  return whileTold(what, () => work);
}

/** The same for work that tells by itself what it is at, and how far. */
export async function whileTold<T>(
  what: string,
  start: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const progress = createProgress(systemClock, process.stderr);
  let current = what;
  progress.begin(current);
  try {
    return await start((now, done, total) => {
      if (now !== current) progress.begin(now);
      current = now;
      if (done > 0) progress.update(done, total > 0 ? total : undefined);
    });
  } finally {
    progress.end();
  }
}

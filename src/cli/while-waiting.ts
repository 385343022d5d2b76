// A progress line for a command that waits for a running server.

import { systemClock } from '../base/system.ts';
import { createProgress } from './progress.ts';

/** Says on stderr what is waited for, from one second on. */
export async function whileWaiting<T>(what: string, work: Promise<T>): Promise<T> {
  const progress = createProgress(systemClock, process.stderr);
  progress.begin(what);
  try {
    return await work;
  } finally {
    progress.end();
  }
}

// How long a client's request waits for a store that does not answer, before it is an I/O error.

import { z } from 'zod';
import { seconds } from './setting-values.ts';

/** Below the two minutes after which Linux complains of hung tasks, above most failovers. */
const READ_SECONDS = 60;
/** A flush that fails stops ext4 and makes PostgreSQL panic: it waits for longer. */
const WRITE_SECONDS = 300;

export const timeoutSchema = z
  .strictObject({ read: seconds.default(READ_SECONDS), write: seconds.default(WRITE_SECONDS) })
  .prefault({});

export interface TimeoutSettings {
  readonly readMs: number;
  readonly writeMs: number;
}

export function toTimeouts({ read, write }: z.output<typeof timeoutSchema>): TimeoutSettings {
  return { readMs: read * 1000, writeMs: write * 1000 };
}

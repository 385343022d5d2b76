// The settings of the journal tier, and the path from a name in the file to what the engine takes.

import { z } from 'zod';
import { seconds, sizeLike } from './setting-values.ts';

export const ON_FAILURE = ['store', 'fail'] as const;

/** Slots are a sixteenth of it, and one of them must hold more than a whole segment. */
const BYTES_MAX_MIN = 256 * 1024 * 1024;

const journalBytes = sizeLike('2G').refine(
  (bytes) => bytes >= BYTES_MAX_MIN,
  'a journal takes 256M at least',
);

export const journalSchema = z
  .strictObject({
    bytes_max: journalBytes.prefault('2G'),
    seconds_max: seconds.default(300),
    on_failure: z.enum(ON_FAILURE).default('store'),
  })
  .prefault({});

export interface JournalSettings {
  /** Of journal, that the store may lack, before barriers wait for the store. */
  readonly bytesMax: number;
  /** Age of the oldest change that the store lacks, likewise. */
  readonly secondsMax: number;
  /** What barriers do while the journal's disk fails. */
  readonly onFailure: (typeof ON_FAILURE)[number];
}

export function toJournal(data: z.output<typeof journalSchema>): JournalSettings {
  const { bytes_max: bytesMax, seconds_max: secondsMax, on_failure: onFailure } = data;
  return { bytesMax, secondsMax, onFailure };
}

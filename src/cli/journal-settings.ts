// The settings of the journal tier, and the path from a name in the file to what the engine takes.

import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import { parseSize } from './size.ts';

export const ON_FAILURE = ['store', 'fail'] as const;

/** Slots are a sixteenth of it, and one of them must hold more than a whole segment. */
const BYTES_MAX_MIN = 256 * 1024 * 1024;

const size = z
  .union([z.string(), z.number()], 'expected a size like "2G"')
  .transform((value, ctx) => {
    try {
      return parseSize(value);
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: messageOf(error) });
      return z.NEVER;
    }
  })
  .refine((bytes) => bytes >= BYTES_MAX_MIN, 'a journal takes 256M at least');

const seconds = z.coerce.number('expected a number of seconds').min(1).max(86_400);

export const journalSchema = z
  .strictObject({
    bytes_max: size.prefault('2G'),
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

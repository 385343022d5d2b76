// The kinds of values that settings take, for the schemas of all tables, and the words of those
// that take one of a few.

import { z } from 'zod';
import { messageOf } from '../base/errors.ts';
import { parseSize } from './size.ts';

export const DURABILITIES = ['store', 'journal'] as const;
export const CIPHERS = ['chacha20-poly1305', 'aes-256-gcm'] as const;
export const COMPRESSIONS = ['lz4', 'zstd', 'none'] as const;
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export const LOG_FORMATS = ['pretty', 'json'] as const;

/** Runs one of our parsers inside the schema: its message becomes the schema's complaint. */
export function parsedBy<In, Out>(
  parse: (value: In) => Out,
): (value: In, ctx: z.RefinementCtx) => Out {
  return (value, ctx) => {
    try {
      return parse(value);
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: messageOf(error) });
      return z.NEVER;
    }
  };
}

export const text = z.string().min(1, 'must not be empty');

/** A number of bytes; `example` is what a complaint shows. */
export function sizeLike(example: string) {
  return z
    .union([z.string(), z.number()], `expected a size like "${example}"`)
    .transform(parsedBy(parseSize));
}

/** Up to a day. */
export const seconds = z.coerce.number('expected a number of seconds').min(1).max(86_400);

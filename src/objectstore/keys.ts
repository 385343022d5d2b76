// What a key and a range may look like: one place, so that every implementation refuses the same
// things.
//
// A key is 1..1024 bytes of printable ASCII, '/'-separated, with no empty segment and no '.' or
// '..' segment (URL parsers and file systems both resolve those, and would name another object). As
// keys are ASCII, JavaScript's string order is their byte order.

import { StorageError } from '../base/errors.ts';
import type { ByteRange } from './object-store.ts';

/** S3's limit on the length of a key, in bytes. */
export const KEY_BYTES_MAX = 1024;

/** Keys per page that a listing asks for: S3's own maximum. */
export const LIST_PAGE_KEYS = 1000;

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;
const BAD_SEGMENT = /(^|\/)\.{0,2}(\/|$)/;

/** Throws `invalid` when `key` is none. */
export function checkKey(key: string): void {
  if (key.length > KEY_BYTES_MAX || !PRINTABLE_ASCII.test(key) || BAD_SEGMENT.test(key)) {
    throw new StorageError('invalid', `not a valid object key: ${JSON.stringify(key)}`);
  }
}

/**
 * Throws `invalid` when `prefix` can be the beginning of no key. The empty prefix is every key's.
 */
export function checkListPrefix(prefix: string): void {
  if (prefix.length > KEY_BYTES_MAX || !PRINTABLE_ASCII.test(prefix) || prefix.startsWith('/')) {
    throw new StorageError('invalid', `not a valid key prefix: ${JSON.stringify(prefix)}`);
  }
}

/** Throws `invalid` when the range is empty, reversed, or not made of whole numbers. */
export function checkRange(key: string, range: ByteRange): void {
  const sound =
    'suffix' in range
      ? Number.isSafeInteger(range.suffix) && range.suffix > 0
      : Number.isSafeInteger(range.start) &&
        Number.isSafeInteger(range.end) &&
        range.start >= 0 &&
        range.start < range.end;
  if (!sound) {
    throw new StorageError('invalid', `not a valid range of ${key}: ${JSON.stringify(range)}`);
  }
}

export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/**
 * The bytes of an object that `range` names. Throws `invalid` when it starts at or past the end.
 */
export function resolveRange(
  key: string,
  range: ByteRange | undefined,
  objectBytes: number,
): ByteSpan {
  if (range === undefined) return { start: 0, end: objectBytes };
  checkRange(key, range);
  if ('suffix' in range) {
    return { start: Math.max(0, objectBytes - range.suffix), end: objectBytes };
  }
  if (range.start >= objectBytes) {
    throw new StorageError(
      'invalid',
      `range starts at ${range.start}, but ${key} has only ${objectBytes} bytes`,
    );
  }
  return { start: range.start, end: Math.min(range.end, objectBytes) };
}

/** Sum of the lengths of the parts of a body. */
export function bodyBytes(body: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of body) total += part.length;
  return total;
}

/** Throws `aborted` when the caller gave up already. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted === true) {
    throw new StorageError('aborted', `gave up: ${what}`, { cause: signal.reason });
  }
}

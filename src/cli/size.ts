// Sizes as people write them: plain bytes, or a number with a binary unit (`512M`, `10G`, `1.5T`,
// `4KiB`). `K` is 1024 bytes and so on up: block devices are cut in powers of two, and one meaning
// is enough.

import { StorageError } from '../base/errors.ts';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'] as const;
const SIZE = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:iB)?)?$/i;

/** Bytes of `text`. Throws `invalid` when it is not a whole number of bytes up to 2^53-1. */
export function parseSize(text: string | number): number {
  const match = SIZE.exec(String(text).trim());
  if (match === null) throw badSize(text, 'write bytes, or a number with K, M, G, T or P (10G)');
  const unit = UNITS.findIndex((name) => name === (match[2] ?? '').toUpperCase());
  const bytes = Number(match[1]) * 1024 ** unit;
  if (!Number.isSafeInteger(bytes)) throw badSize(text, 'it must be whole bytes, below 8P');
  return bytes;
}

function badSize(text: string | number, why: string): StorageError {
  return new StorageError('invalid', `"${text}" is not a size: ${why}`);
}

/** For people: `10 GiB`, `1.5 MiB`, `17 B`. Rounded to one digit, so never parse it back. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = Number.isInteger(value) ? String(value) : value.toFixed(1);
  return unit === 0 ? `${digits} B` : `${digits} ${UNITS[unit]}iB`;
}

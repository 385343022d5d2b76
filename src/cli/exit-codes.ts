// How a command ends. Scripts rely on these numbers: add to them, never change one.

import { messageOf, StorageError, type StorageErrorKind } from '../base/errors.ts';

export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_FENCED = 3;
export const EXIT_WRONG_PASSPHRASE = 4;
export const EXIT_CORRUPT = 5;

/** The one table from what went wrong to the process's exit code. */
export const EXIT_CODE_OF_KIND: Readonly<Record<StorageErrorKind, number>> = {
  notFound: EXIT_FAILED,
  exists: EXIT_FAILED,
  invalid: EXIT_USAGE,
  corrupt: EXIT_CORRUPT,
  fenced: EXIT_FENCED,
  wrongKey: EXIT_WRONG_PASSPHRASE,
  readOnly: EXIT_FAILED,
  denied: EXIT_FAILED,
  unavailable: EXIT_FAILED,
  noSpace: EXIT_FAILED,
  aborted: EXIT_FAILED,
};

export function exitCodeOf(error: unknown): number {
  return error instanceof StorageError ? EXIT_CODE_OF_KIND[error.kind] : EXIT_FAILED;
}

/** One line for stderr; with `withStack` the stack and its causes follow. Ends in a newline. */
export function errorText(error: unknown, withStack: boolean): string {
  const expected = error instanceof StorageError || isSystemError(error);
  const lead = expected ? '' : 'internal error (--log-level debug shows where): ';
  const line = `varve: ${lead}${messageOf(error).replaceAll(/\s*\n\s*/g, ' ')}\n`;
  return withStack ? line + stackOf(error) : line;
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

function stackOf(error: unknown): string {
  let text = '';
  for (let at = error; at instanceof Error; at = at.cause) {
    text += `${at === error ? '' : 'caused by: '}${at.stack ?? at.message}\n`;
  }
  return text;
}

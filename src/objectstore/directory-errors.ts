// What the kernel's error codes mean for a store: one table.

import { messageOf, StorageError, type StorageErrorKind } from '../base/errors.ts';

interface Meaning {
  readonly kind: StorageErrorKind;
  readonly retryable: boolean;
  readonly hint?: string;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOENT: { kind: 'notFound', retryable: false },
  EACCES: { kind: 'denied', retryable: false, hint: 'check owner and mode of the directory' },
  EPERM: { kind: 'denied', retryable: false, hint: 'check owner and mode of the directory' },
  EROFS: { kind: 'denied', retryable: false, hint: 'the file system is mounted read-only' },
  // Somebody may make room: the same request may succeed later.
  ENOSPC: { kind: 'noSpace', retryable: true, hint: 'the disk is full' },
  EDQUOT: { kind: 'noSpace', retryable: true, hint: 'the quota is used up' },
  ENOTDIR: { kind: 'invalid', retryable: false, hint: 'a file stands where a folder is needed' },
  EISDIR: { kind: 'invalid', retryable: false },
  ENAMETOOLONG: { kind: 'invalid', retryable: false },
  EFBIG: { kind: 'invalid', retryable: false },
  ELOOP: { kind: 'invalid', retryable: false },
  EXDEV: { kind: 'invalid', retryable: false, hint: 'the store spans more than one file system' },
};

/** The `code` of a system error, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * The error to report for `error`, which `what` failed with. What is no system error passes
 * unchanged.
 */
export function fileError(error: unknown, what: string): unknown {
  const code = errorCode(error);
  if (error instanceof StorageError || code === undefined) return error;
  // EIO, EMFILE, ENOMEM, ESTALE and the like: the disk or the machine does not do it now.
  const meaning = MEANINGS[code] ?? { kind: 'unavailable', retryable: true };
  const hint = meaning.hint === undefined ? '' : ` (${meaning.hint})`;
  return new StorageError(meaning.kind, `${what} failed: ${messageOf(error)}${hint}`, {
    retryable: meaning.retryable,
    cause: error,
  });
}

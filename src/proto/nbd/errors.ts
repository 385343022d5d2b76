// The one table from the kinds of StorageError to the error values of NBD ("Error values").

import { StorageError } from '../../base/errors.ts';
import type { StorageErrorKind } from '../../base/errors.ts';

export const ERRNO = {
  perm: 1,
  io: 5,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  notSupported: 95,
  shutdown: 108,
} as const;

/**
 * `fenced` and `aborted` are ESHUTDOWN: this server will never serve the export again, and the
 * specification makes a client that gets ESHUTDOWN disconnect. Everything that a person must look
 * into is EIO.
 */
const ERRNO_OF_KIND: Readonly<Record<StorageErrorKind, number>> = {
  notFound: ERRNO.io,
  exists: ERRNO.io,
  invalid: ERRNO.invalid,
  corrupt: ERRNO.io,
  fenced: ERRNO.shutdown,
  wrongKey: ERRNO.io,
  readOnly: ERRNO.perm,
  denied: ERRNO.io,
  unavailable: ERRNO.io,
  noSpace: ERRNO.noSpace,
  aborted: ERRNO.shutdown,
};

/** The NBD error value for anything thrown. What is not a StorageError is a bug here: EIO. */
export function errnoOf(error: unknown): number {
  return error instanceof StorageError ? ERRNO_OF_KIND[error.kind] : ERRNO.io;
}

/** What a client may show to a person. A bug's message stays in the log. */
export function clientMessageOf(error: unknown): string {
  return error instanceof StorageError ? error.message : 'internal error';
}

// Operating errors: everything that can go wrong without a bug. Callers branch on `kind`, never on
// the message; each protocol maps kinds to its own codes in exactly one table.

export type StorageErrorKind =
  | 'notFound' // no object, volume or key of that name
  | 'exists' // a PUT-if-absent or create found the name taken
  | 'invalid' // the request can never succeed as it stands
  | 'corrupt' // bytes fail authentication, or a stored structure makes no sense
  | 'fenced' // another writer has taken the branch over
  | 'wrongKey' // the passphrase opens no key slot
  | 'readOnly' // a change was asked of something opened for reading
  | 'denied' // the store refuses our credentials
  | 'unavailable' // the store or the disk does not answer now
  | 'noSpace' // a limit or a disk is full
  | 'aborted'; // the caller, or shutdown, gave up

export interface StorageErrorOptions {
  /** True when the very same request may succeed later. Defaults to true for `unavailable` only. */
  readonly retryable?: boolean;
  /** How long whoever refused wants to be left alone before the next try. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * An operating error. The message says what happened, to what, and where possible what to do next.
 */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly kind: StorageErrorKind;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(kind: StorageErrorKind, message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.retryable = options.retryable ?? kind === 'unavailable';
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** True when `error` is a StorageError, of the given kind if one is named. */
export function isStorageError(error: unknown, kind?: StorageErrorKind): error is StorageError {
  return error instanceof StorageError && (kind === undefined || error.kind === kind);
}

/** An operating error as it is; anything else, a bug, as `corrupt` with `what` failed. */
export function asStorageError(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error;
  return new StorageError('corrupt', `${what}: ${messageOf(error)}`, { cause: error });
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

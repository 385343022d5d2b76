// What S3's answers mean: the one table from HTTP status and S3 error code to StorageError.
// Source: Amazon S3 API Reference, "Error responses"; and what other servers were seen to send.

import { StorageError, type StorageErrorKind } from '../../base/errors.ts';
import { parseErrorDocument } from './xml.ts';

export interface FailedRequest {
  readonly method: string;
  readonly bucket: string;
  /** Undefined for requests on the bucket. */
  readonly key: string | undefined;
  readonly region: string;
  /** When the answer came: a Retry-After may be a date. */
  readonly nowUnixMs: number;
}

export interface FailedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}

interface Meaning {
  readonly kind: StorageErrorKind;
  readonly retryable?: boolean;
  /** What to do about it. */
  readonly hint?: (request: FailedRequest, response: FailedResponse) => string;
}

const SENT_WRONG: Meaning = { kind: 'unavailable', hint: () => 'the bytes changed on the way' };
const ELSEWHERE: Meaning = {
  kind: 'invalid',
  hint: (request, response) => {
    const region = response.headers['x-amz-bucket-region'];
    const there = typeof region === 'string' ? `, it is in ${region}` : '';
    return `bucket ${request.bucket} is not in region ${request.region}${there}`;
  },
};

/** Codes that say more than their status does. */
const BY_CODE: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { kind: 'notFound' },
  NoSuchBucket: {
    kind: 'invalid',
    hint: ({ bucket }) => `bucket ${bucket} does not exist: create it, or correct the store URL`,
  },
  InvalidRange: { kind: 'invalid' },
  RequestTimeTooSkewed: {
    kind: 'denied',
    hint: () => "this machine's clock differs too much from the store's: set the clock",
  },
  InvalidAccessKeyId: { kind: 'denied', hint: () => 'the store does not know this access key' },
  SignatureDoesNotMatch: {
    kind: 'denied',
    hint: () => 'check the secret key, the region and the clock',
  },
  ExpiredToken: { kind: 'denied', hint: () => 'renew the session credentials' },
  TokenRefreshRequired: { kind: 'denied', hint: () => 'renew the session credentials' },
  InvalidToken: { kind: 'denied', hint: () => 'the session token is not valid' },
  AuthorizationHeaderMalformed: ELSEWHERE,
  PermanentRedirect: ELSEWHERE,
  TemporaryRedirect: { kind: 'unavailable' },
  IllegalLocationConstraintException: ELSEWHERE,
  QuotaExceeded: { kind: 'noSpace', retryable: true },
  EntityTooLarge: { kind: 'invalid' },
  NotImplemented: {
    kind: 'invalid',
    hint: () => 'the store must support PUT with If-None-Match: *',
  },
  PreconditionFailed: { kind: 'exists' },
  // Two conditional puts at once: neither outcome is known yet.
  ConditionalRequestConflict: { kind: 'unavailable' },
  OperationAborted: { kind: 'unavailable' },
  RequestTimeout: { kind: 'unavailable' },
  SlowDown: { kind: 'unavailable' },
  BadDigest: SENT_WRONG,
  IncompleteBody: SENT_WRONG,
  XAmzContentSHA256Mismatch: SENT_WRONG,
  XAmzContentChecksumMismatch: SENT_WRONG,
};

/**
 * Session credentials that have to be renewed, whatever the status: AWS sends 400 with it, others
 * 403.
 */
export const EXPIRED_CODES: ReadonlySet<string> = new Set(['ExpiredToken', 'TokenRefreshRequired']);

/** The S3 error code in a failed response, if it has one. */
export function errorCodeOf(response: FailedResponse): string | undefined {
  return parseErrorDocument(Buffer.from(response.body).toString('utf8')).code;
}

/** The error that a response with a status other than 2xx stands for. */
export function responseError(request: FailedRequest, response: FailedResponse): StorageError {
  const text = Buffer.from(response.body).toString('utf8');
  const { code, message } = parseErrorDocument(text);
  const known = code !== undefined && Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  const meaning = known ?? byStatus(response.status, request);
  const target = request.key === undefined ? `bucket ${request.bucket}` : request.key;
  const said = [code, message].filter((part) => part !== undefined).join(': ');
  const outcome = said === '' ? String(response.status) : `${response.status} ${said}`;
  const hint = meaning.hint === undefined ? '' : ` (${meaning.hint(request, response)})`;
  const retryable = meaning.retryable === undefined ? {} : { retryable: meaning.retryable };
  return new StorageError(
    meaning.kind,
    `${request.method} of ${target} failed with ${outcome}${hint}`,
    { ...retryable, retryAfterMs: retryAfterMs(response, request.nowUnixMs) },
  );
}

/**
 * RFC 9110 §10.2.3: a number of seconds, or an HTTP date. Undefined when there is none, or
 * nonsense.
 */
function retryAfterMs(response: FailedResponse, nowUnixMs: number): number | undefined {
  const header = response.headers['retry-after'];
  if (typeof header !== 'string') return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // Dates begin with the name of a day. The parser takes much else, which must not become a wait.
  const unixMs = /^[A-Z][a-z]+,? /.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(unixMs) ? undefined : Math.max(0, unixMs - nowUnixMs);
}

function byStatus(status: number, request: FailedRequest): Meaning {
  // An error without an S3 code (HEAD has no body, and proxies write their own) goes by its status.
  if (status === 404)
    return request.key === undefined ? BY_CODE.NoSuchBucket! : { kind: 'notFound' };
  if (status === 401 || status === 403) {
    return { kind: 'denied', hint: () => 'the credentials do not allow this' };
  }
  if (status === 301 || status === 308) return ELSEWHERE;
  if (status === 412) return { kind: 'exists' };
  if (status === 501) return BY_CODE.NotImplemented!;
  if (status === 507) return { kind: 'noSpace', retryable: true };
  // Conflict, timeout, too many requests, and all that is the server's own trouble.
  if (status === 307 || status === 408 || status === 409 || status === 425 || status === 429) {
    return { kind: 'unavailable' };
  }
  if (status >= 500 || status < 300) return { kind: 'unavailable' };
  return { kind: 'invalid' };
}

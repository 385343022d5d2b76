// AWS Signature Version 4 for one request (AWS General Reference, "Signing AWS API requests").
//
// Over https the payload is UNSIGNED-PAYLOAD: TLS guards it on the way, and the CRC32 that goes
// with it guards it in the store. Over plain http the payload's SHA-256 is signed, so that the
// store itself refuses bytes that were changed on the way, instead of keeping them until a read
// finds out.

import { createHash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import type { Credentials } from './credentials.ts';

export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';

/** SHA-256 of nothing: the payload of every request that has none. */
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Derived keys are cached by day and credentials; past this many old ones are dropped. */
const DERIVED_KEYS_MAX = 8;

export interface UnsignedRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Absolute; path and query strictly percent-encoded. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: readonly Uint8Array[];
}

/** Gives the headers to send, signature included. `unixMs` is the time to sign for. */
export type Signer = (
  request: UnsignedRequest,
  credentials: Credentials,
  unixMs: number,
) => Promise<Record<string, string>>;

export function createSigner(region: string): Signer {
  const derivedKeys = new Map<string, ArrayBuffer>();
  return async (request, credentials, unixMs) => {
    if (derivedKeys.size > DERIVED_KEYS_MAX) derivedKeys.clear();
    const signer = new AwsV4Signer({
      method: request.method,
      url: request.url,
      headers: { ...request.headers, 'x-amz-content-sha256': payloadHash(request) },
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: credentials.secretAccessKey,
      ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
      service: 's3',
      region,
      cache: derivedKeys,
      datetime: new Date(unixMs).toISOString().replace(/[:-]|\.\d{3}/g, ''),
    });
    const { headers } = await signer.sign();
    const signed: Record<string, string> = {};
    headers.forEach((value, name) => {
      signed[name] = value;
    });
    return signed;
  };
}

function payloadHash(request: UnsignedRequest): string {
  if (request.url.startsWith('https:')) return UNSIGNED_PAYLOAD;
  if (request.body.length === 0) return EMPTY_SHA256;
  const hash = createHash('sha256');
  for (const part of request.body) hash.update(part);
  return hash.digest('hex');
}

/**
 * Percent-encodes all but the unreserved characters of RFC 3986 §2.3, and '/' unless told
 * otherwise.
 */
export function encodeStrictly(text: string, keepSlash: boolean): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded;
}

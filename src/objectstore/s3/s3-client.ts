// One S3 request: address, sign, send, and tell success from failure. What the requests mean is
// s3-store.ts's.
//
// No retries here, but one: when the store says that the credentials expired they are renewed, and
// the request is sent once more.

import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { throwIfAborted } from '../keys.ts';
import { type Lane, laneOf } from '../lanes.ts';
import type { RequestOptions } from '../object-store.ts';
import { bucketAddress, type BucketAddress, type S3Addressing } from './address.ts';
import type { CredentialProvider } from './credentials.ts';
import { errorCodeOf, EXPIRED_CODES, responseError } from './errors.ts';
import type { HttpRequest, HttpResponse } from './exchange.ts';
import { HttpClient } from './http.ts';
import { createSigner, encodeStrictly, type Signer } from './signer.ts';

/**
 * Requests on the wire at once, by lane: each has its own connections, so that uploads that hang
 * hold up no read, and work in the background neither. An 8 MiB put takes 80 ms at 100 MB/s: 24 of
 * them fill most network cards. Reads are smaller and wait for round trips.
 */
export const LANE_CONNECTIONS: Readonly<Record<Lane, number>> = {
  read: 64,
  commit: 24,
  background: 24,
};

/**
 * Below the idle limits of S3 and of common proxies, so that a kept connection is rarely found
 * dead.
 */
export const KEEP_ALIVE_MS = 15_000;

export const CONNECT_TIMEOUT_MS = 5_000;

/** For headers and body together: slow enough for 8 MiB over 3 Mbit/s. */
export const REQUEST_TIMEOUT_MS = 30_000;

export interface S3ClientSettings extends S3Addressing {
  readonly bucket: string;
  readonly credentials: CredentialProvider;
  readonly clock: Clock;
  readonly log: Log;
  /** Of each lane, in place of LANE_CONNECTIONS. */
  readonly connectionsMax?: number;
  readonly keepAliveMs?: number;
  readonly connectTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
}

export interface S3Request {
  readonly method: HttpRequest['method'];
  /** Undefined for a request on the bucket. */
  readonly key: string | undefined;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: readonly Uint8Array[];
  /** A longer answer is refused before memory is taken for it. */
  readonly responseBytesMax: number;
  /** A status, other than 2xx, that the caller takes as an answer. */
  readonly accept?: number;
}

/** What a client sends with. */
export interface S3ClientParts {
  readonly http: Pick<HttpClient, 'send' | 'close'>;
  readonly sign: Signer;
}

export class S3Client {
  readonly #settings: S3ClientSettings;
  readonly #address: BucketAddress;
  readonly #http: S3ClientParts['http'];
  readonly #sign: Signer;

  constructor(settings: S3ClientSettings, parts = partsOf(settings)) {
    this.#settings = settings;
    this.#address = bucketAddress(settings.bucket, settings);
    this.#sign = parts.sign;
    this.#http = parts.http;
  }

  /**
   * Resolves with an answer of success or of the accepted status; everything else is a
   * StorageError.
   */
  async request(request: S3Request, options: RequestOptions): Promise<HttpResponse> {
    const response = await this.#attempt(request, options);
    if (isAnswer(request, response)) return response;
    throw responseError(
      {
        method: request.method,
        bucket: this.#settings.bucket,
        key: request.key,
        region: this.#settings.region,
        nowUnixMs: this.#settings.clock.unixMs(),
      },
      response,
    );
  }

  async #attempt(request: S3Request, options: RequestOptions): Promise<HttpResponse> {
    const what = `${request.method} of ${request.key ?? `bucket ${this.#settings.bucket}`}`;
    const path = this.#path(request);
    for (let renewed = false; ; renewed = true) {
      throwIfAborted(options.signal, what);
      const credentials = await this.#settings.credentials.get();
      const headers = await this.#sign(
        {
          method: request.method,
          url: this.#address.origin + path,
          headers: request.headers ?? {},
          body: request.body ?? [],
        },
        credentials,
        this.#settings.clock.unixMs(),
      );
      const response = await this.#http.send({
        method: request.method,
        path,
        headers,
        body: request.body ?? [],
        responseBytesMax: request.responseBytesMax,
        what,
        lane: laneOf(options.cause),
        signal: options.signal,
      });
      if (renewed || isAnswer(request, response)) return response;
      const code = errorCodeOf(response);
      if (code === undefined || !EXPIRED_CODES.has(code)) return response;
      this.#settings.log.warn('s3.credentials.expired', { code });
      this.#settings.credentials.reject(credentials);
    }
  }

  #path(request: S3Request): string {
    const key = request.key === undefined ? '' : encodeStrictly(request.key, true);
    const query = Object.entries(request.query ?? {})
      .map(([name, value]) => `${name}=${encodeStrictly(value, false)}`)
      .join('&');
    return `${this.#address.basePath}/${key}${query === '' ? '' : `?${query}`}`;
  }

  async close(): Promise<void> {
    await this.#http.close();
  }
}

function partsOf(settings: S3ClientSettings): S3ClientParts {
  const http = new HttpClient({
    origin: bucketAddress(settings.bucket, settings).origin,
    clock: settings.clock,
    connections: laneConnections(settings.connectionsMax),
    keepAliveMs: settings.keepAliveMs ?? KEEP_ALIVE_MS,
    connectTimeoutMs: settings.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    requestTimeoutMs: settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
  });
  return { http, sign: createSigner(settings.region) };
}

function laneConnections(each: number | undefined): Readonly<Record<Lane, number>> {
  return each === undefined ? LANE_CONNECTIONS : { read: each, commit: each, background: each };
}

function isAnswer(request: S3Request, response: HttpResponse): boolean {
  const { status } = response;
  return (status >= 200 && status < 300) || status === request.accept;
}

// One HTTP request and its answer, over a connection of undici's.
//
// It settles once: with the whole response, or with `unavailable` (no connection, reset, short
// body) or `aborted` (the signal). Whatever it settles with, its body is no longer read
// afterwards: a request that is given up loses its connection.

import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { messageOf, StorageError } from '../../base/errors.ts';
import { bodyBytes } from '../keys.ts';
import type { Lane } from '../lanes.ts';

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/**
 * A header is believed so far: memory for what is longer is taken as it comes. Few objects of ours
 * are longer.
 */
const TRUSTED_BYTES_MAX = 16 * 1024 * 1024;

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Path and query, strictly encoded. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Borrowed until the request settles. */
  readonly body: readonly Uint8Array[];
  /** A longer response is refused before memory is taken for it. */
  readonly responseBytesMax: number;
  /** For messages. */
  readonly what: string;
  readonly lane: Lane;
  readonly signal: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ResponseHeaders;
  /** Owned by the caller. */
  readonly body: Uint8Array;
}

/** The body of an error or a listing: what is longer is no S3 answer. */
export const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;

/** Sends `request` over a connection of `dispatcher` and collects what comes back. */
export function exchange(
  dispatcher: Pick<Dispatcher, 'dispatch'>,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const collector = new Collector(request, signal, resolve, reject);
    if (signal.aborted) {
      collector.giveUp();
      return;
    }
    signal.addEventListener('abort', collector.giveUp, { once: true });
    dispatcher.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: { ...request.headers, ...lengthHeader(request) },
        body: wireBody(request.body),
      },
      collector,
    );
  });
}

/** Collects one response. */
class Collector implements Dispatcher.DispatchHandler {
  readonly #request: HttpRequest;
  readonly #signal: AbortSignal;
  readonly #resolve: (response: HttpResponse) => void;
  readonly #reject: (error: StorageError) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #status = 0;
  #headers: ResponseHeaders = {};
  /** The body as far as it came: mostly as long as was announced, else growing. */
  #body = Buffer.alloc(0);
  #length = 0;
  #announced: number | undefined;

  constructor(
    request: HttpRequest,
    signal: AbortSignal,
    resolve: (response: HttpResponse) => void,
    reject: (error: StorageError) => void,
  ) {
    this.#request = request;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Ends the exchange because the signal fired. */
  readonly giveUp = (): void => {
    this.#fail(
      new StorageError('aborted', `gave up: ${this.#request.what}`, { cause: this.#signal.reason }),
    );
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Given up while it waited for a connection: it must not reach the wire.
    if (this.#settled) controller.abort(new Error('given up'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: ResponseHeaders,
  ): void {
    // Interim responses say nothing about the outcome.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
    if (this.#request.method === 'HEAD' || status === 204) return;
    const announced = headers['content-length'];
    if (typeof announced !== 'string') return;
    const bytes = lengthOf(announced) ?? Infinity;
    if (bytes > this.#bytesMax()) {
      this.#fail(this.#unavailable(`the answer announces ${announced} bytes`));
      return;
    }
    this.#announced = bytes;
    // Not from the shared pool: callers keep what they read, which must not pin unrelated memory.
    this.#body = Buffer.allocUnsafeSlow(Math.min(bytes, TRUSTED_BYTES_MAX));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    const end = this.#length + chunk.length;
    if (end > (this.#announced ?? this.#bytesMax())) {
      this.#fail(this.#unavailable(`the answer is longer than ${this.#length} bytes`));
      return;
    }
    if (end > this.#body.length) {
      const doubled = Math.max(end, this.#body.length * 2);
      const grown = Buffer.allocUnsafeSlow(Math.min(doubled, this.#announced ?? doubled));
      this.#body.copy(grown, 0, 0, this.#length);
      this.#body = grown;
    }
    chunk.copy(this.#body, this.#length);
    this.#length = end;
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    if (this.#announced !== undefined && this.#announced !== this.#length) {
      this.#fail(this.#unavailable(`${this.#length} of ${this.#announced} bytes came`));
      return;
    }
    this.#settle();
    this.#resolve({
      status: this.#status,
      headers: this.#headers,
      body: this.#body.subarray(0, this.#length),
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(this.#unavailable(describe(error), error));
  }

  /** An error's body is a document, whatever size of object was asked for. */
  #bytesMax(): number {
    return this.#status < 300 ? this.#request.responseBytesMax : DOCUMENT_BYTES_MAX;
  }

  #unavailable(why: string, cause?: Error): StorageError {
    return new StorageError('unavailable', `${this.#request.what}: ${why}`, { cause });
  }

  #fail(error: StorageError): void {
    if (this.#settled) return;
    this.#settle();
    this.#controller?.abort(error);
    this.#reject(error);
  }

  #settle(): void {
    this.#settled = true;
    this.#signal.removeEventListener('abort', this.giveUp);
  }
}

/** The value of a Content-Length; undefined when it is none. */
export function lengthOf(header: string): number | undefined {
  const bytes = /^\d{1,16}$/.test(header) ? Number(header) : NaN;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** One part goes as it is; several go as an iterable, so that they are never joined. */
function wireBody(parts: readonly Uint8Array[]): Buffer | Readable | null {
  const full = parts.filter((part) => part.length > 0);
  if (full.length === 0) return null;
  const [first] = full;
  if (full.length === 1 && first !== undefined) return viewOf(first);
  // The dispatcher takes any iterable (its documentation says so); its types know streams only.
  const iterable: unknown = full.map(viewOf);
  return iterable as Readable;
}

function viewOf(part: Uint8Array): Buffer {
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}

function lengthHeader(request: HttpRequest): Record<string, string> {
  if (request.method !== 'PUT') return {};
  return { 'content-length': String(bodyBytes(request.body)) };
}

function describe(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  const inner = error instanceof AggregateError ? error.errors.map(messageOf).join(', ') : '';
  return `${code}${error.message || inner || error.name}`;
}

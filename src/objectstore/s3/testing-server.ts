// For tests of the S3 store: a server that answers each request as it is told.

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createManualClock, type ManualClock } from '../manual-clock.ts';
import type { ObjectStore } from '../object-store.ts';
import { withRetry } from '../retry.ts';
import { staticCredentials } from './credentials.ts';
import { createS3Store, type S3StoreSettings } from './s3-store.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

export interface Bench {
  readonly store: ObjectStore;
  /** The same with retries on top. */
  readonly retrying: ObjectStore;
  readonly clock: ManualClock;
  /** Each request as `METHOD /path`, in order of arrival. */
  readonly seen: readonly string[];
  /** Resolves when the n-th request (from 1) has arrived whole. */
  readonly arrival: (n: number) => Promise<void>;
}

/**
 * Runs `test` against a server that answers its n-th request with the n-th handler, the last one
 * for ever.
 */
export async function withServer(
  handlers: readonly Handler[],
  test: (bench: Bench) => Promise<void>,
  overrides: Partial<S3StoreSettings> = {},
): Promise<void> {
  const seen: string[] = [];
  const waiters: { readonly n: number; readonly resolve: () => void }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => {
      seen.push(`${request.method} ${request.url}`);
      for (const waiter of waiters) if (waiter.n <= seen.length) waiter.resolve();
      const handler = handlers[Math.min(seen.length, handlers.length) - 1]!;
      handler(request, response, Buffer.concat(chunks));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const clock = createManualClock();
  const store = createS3Store({
    bucket: 'bucket',
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    addressing: 'path',
    credentials: staticCredentials({ accessKeyId: 'AK', secretAccessKey: 'SK' }),
    clock,
    log: silentLog,
    requestTimeoutMs: 1000,
    ...overrides,
  });
  const retrying = withRetry(store, {
    clock,
    rng: createSeededRng(1),
    log: silentLog,
    attemptTimeoutMs: 100_000,
    totalDeadlineMs: 1_000_000,
    baseDelayMs: 10,
    maxDelayMs: 100,
  });
  const arrival = (n: number): Promise<void> =>
    seen.length >= n ? Promise.resolve() : new Promise((resolve) => waiters.push({ n, resolve }));
  try {
    await test({ store, retrying, clock, seen, arrival });
    assert.equal(clock.pending(), 0, 'no deadline is left behind');
  } finally {
    await store.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

export function reply(
  status: number,
  body: string | Uint8Array = '',
  headers: Record<string, string> = {},
): Handler {
  return (request, response) => {
    const length = request.method === 'HEAD' ? {} : { 'content-length': Buffer.byteLength(body) };
    response.writeHead(status, { ...length, ...headers });
    response.end(request.method === 'HEAD' ? '' : body);
  };
}

export function fail(status: number, code: string): Handler {
  return reply(
    status,
    `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`,
  );
}

export const hang: Handler = () => {};

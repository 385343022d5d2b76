// The routes of the admin socket on a TCP port, with TLS when there is a certificate.
//
// Bounds: at most CONNECTIONS_MAX connections, a TLS handshake HANDSHAKE_TIMEOUT_MS, a request
// REQUEST_TIMEOUT_MS to arrive; bodies as in handler.ts.

import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { TlsOptions } from 'node:tls';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { formatHostPort, isLoopback } from '../nbd/address.ts';
import { createGuard } from './guard.ts';
import { createHandler } from './handler.ts';
import type { AdminService } from './routes.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 64;

export interface HttpFaceSettings {
  readonly host: string;
  readonly port: number;
  /** Without one, only requests that name this machine are answered. */
  readonly token: string | undefined;
}

export interface HttpFaceDeps {
  readonly service: AdminService;
  readonly log: Log;
  /** Absent: in clear. */
  readonly tls?: TlsOptions | undefined;
}

export interface HttpFace {
  readonly uri: string;
  /** Lets requests under way finish, drops idle connections. */
  close(): Promise<void>;
}

/**
 * Throws `invalid` for a face that lets other machines in in clear, unless that is what was asked
 * for, or without a token.
 */
export function checkHttpFace(
  address: { readonly host: string; readonly port: number },
  has: { readonly tls: boolean; readonly token: boolean; readonly insecure: boolean },
): void {
  if (isLoopback(address.host)) return;
  const where = `http ${formatHostPort(address)}`;
  if (!has.token) {
    const what = 'other machines could control the server: give http.token-file';
    throw new StorageError('invalid', `${where}: ${what}, or listen on 127.0.0.1`);
  }
  if (!has.tls && !has.insecure) {
    const what = 'the token would be sent in clear: give tls.cert and tls.key';
    throw new StorageError('invalid', `${where}: ${what}, listen on 127.0.0.1, or --insecure`);
  }
}

/** Throws `exists` when the address is taken, `invalid` when it cannot be. */
export async function startHttpFace(
  { service, log, tls }: HttpFaceDeps,
  { host, port, token }: HttpFaceSettings,
): Promise<HttpFace> {
  const stopping = new AbortController();
  const guard = createGuard(token);
  const handler = createHandler({ service, log, stopping: stopping.signal, guard });
  const server =
    tls === undefined
      ? createHttpServer(handler)
      : createHttpsServer({ ...tls, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, handler);
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = CONNECTIONS_MAX;
  server.on('tlsClientError', (error: Error) => {
    log.warn('http.tls.failed', { message: messageOf(error) });
  });
  await listen(server, host, port);
  server.on('error', (error) => log.error('http.listener.failed', { error }));
  const bound = server.address();
  const own = bound === null || typeof bound === 'string' ? port : bound.port;
  const uri = `${tls === undefined ? 'http' : 'https'}://${formatHostPort({ host, port: own })}`;
  log.info('http.listening', { uri });
  return {
    uri,
    async close() {
      stopping.abort(new StorageError('aborted', 'the server is stopping: ask the next one'));
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeIdleConnections();
      await closed;
    },
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', resolve);
  server.listen({ host, port });
  try {
    await promise;
  } catch (cause) {
    const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
    const why = taken ? 'something else listens there; choose another port' : messageOf(cause);
    const message = `cannot serve HTTP on ${formatHostPort({ host, port })}: ${why}`;
    throw new StorageError(taken ? 'exists' : 'invalid', message, { cause });
  } finally {
    server.off('error', reject);
  }
}

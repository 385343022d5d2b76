// The admin socket: HTTP + JSON on a Unix socket that only its owner may open (mode 0600).
//
//   request → route table → zod-checked body → service → 200 with JSON
//   any StorageError → its status with { error: { kind, message } }; anything else → 500
//   `unavailable`, logged
//
// A route that takes long may tell how far it is. The reply then is 200 and lines of JSON, as
// many { progress } as there are, and last the answer or the error.
//
// Bounds: a request body has at most BODY_BYTES_MAX, a request REQUEST_TIMEOUT_MS to arrive, and
// there are at most CONNECTIONS_MAX connections.

import { lstat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ProgressReport } from './report.ts';
import { type AdminService, findRoute, STATUS_OF_KIND } from './routes.ts';

/** Far above any body that the routes take. */
const BODY_BYTES_MAX = 64 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 64;

/** sun_path holds 108 bytes with its terminator (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;
/** Leaves mode 0600. */
const SOCKET_UMASK = 0o177;

export interface AdminServer {
  readonly path: string;
  /**
   * Lets requests under way finish, a collection alone is not waited for; drops idle connections,
   * removes the socket file.
   */
  close(): Promise<void>;
}

export interface AdminComponents {
  readonly service: AdminService;
  readonly log: Log;
}

/**
 * Throws `exists` when a live server answers at `path`; a socket file left by a dead one is
 * replaced.
 */
export async function createAdminServer(
  { service, log }: AdminComponents,
  path: string,
): Promise<AdminServer> {
  const stopping = new AbortController();
  const server = createServer((request, response) => {
    answer(service, request, response).catch((error: unknown) => {
      log.warn('admin.reply.failed', { error });
      response.destroy();
    });
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await removeStaleSocket(path);
  await listen(server, path);
  server.on('error', (error) => log.error('admin.socket.failed', { error }));
  return {
    path,
    close() {
      stopping.abort(new StorageError('aborted', 'the server is stopping: ask the next one'));
      return close(server);
    },
  };

  async function answer(
    to: AdminService,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new StorageError('aborted', 'the client is gone')));
    let status = 200;
    let reply: unknown;
    try {
      const { handle, name } = findRoute(request.method ?? '', request.url ?? '');
      const body = await readJson(request);
      reply = await handle(to, {
        name,
        body,
        onProgress: (what, done, total) => tell(response, { what, done, total }),
        signal: AbortSignal.any([gone.signal, stopping.signal]),
      });
    } catch (error) {
      const known = isStorageError(error) ? error : undefined;
      if (known === undefined) log.error('admin.request.failed', { url: request.url, error });
      status = STATUS_OF_KIND[known?.kind ?? 'unavailable'];
      const message = known?.message ?? `internal error: ${messageOf(error)}`;
      reply = { error: { kind: known?.kind ?? 'unavailable', message } };
    }
    const body = Buffer.from(`${JSON.stringify(reply)}\n`);
    if (response.headersSent) return void response.end(body);
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      // What was not read of an oversized body must not be taken for the next request.
      ...(request.complete ? {} : { connection: 'close' }),
    });
    response.end(body);
  }
}

function tell(response: ServerResponse, progress: ProgressReport['progress']): void {
  // It is only news: what a client does not read is not kept for it.
  if (response.destroyed || response.writableNeedDrain) return;
  if (!response.headersSent) {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  }
  response.write(`${JSON.stringify({ progress })}\n`);
}

/** True when some process accepts connections at `path`. */
export function answersAt(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function removeStaleSocket(path: string): Promise<void> {
  if (await answersAt(path)) {
    throw new StorageError('exists', `another server answers at ${path}: stop it first`);
  }
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true) await unlink(path);
}

async function listen(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    const why = `is longer than ${SOCKET_PATH_BYTES_MAX} bytes: choose a shorter state directory`;
    throw new StorageError('invalid', `the socket path ${path} ${why}`);
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', resolve);
  // The socket is bound within this call, with its mode: nobody else gets in before a chmod.
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path });
  } finally {
    process.umask(before);
  }
  try {
    await promise;
  } catch (cause) {
    throw new StorageError('invalid', `cannot listen on ${path}: ${messageOf(cause)}`, { cause });
  } finally {
    server.off('error', reject);
  }
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await closed;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > BODY_BYTES_MAX) {
      throw new StorageError('invalid', `the body is longer than ${BODY_BYTES_MAX} bytes`);
    }
    parts.push(part);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch (cause) {
    throw new StorageError('invalid', 'the body is not JSON', { cause });
  }
}

// The admin socket: HTTP + JSON on a Unix socket that only its owner may open (mode 0600).
//
// Bounds: a request has REQUEST_TIMEOUT_MS to arrive, and there are at most CONNECTIONS_MAX
// connections. The rest is in handler.ts.

import { lstat, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { createHandler } from './handler.ts';
import type { AdminService } from './routes.ts';

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
  const server = createServer(createHandler({ service, log, stopping: stopping.signal }));
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

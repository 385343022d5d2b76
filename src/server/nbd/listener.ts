// Opens listening sockets. A Unix socket's file that a dead server left behind is replaced, but
// only when nothing answers on it; the file is created with mode 0600, so only its owner can
// connect.

import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { messageOf, StorageError } from '../../base/errors.ts';
import { formatNbdAddress } from './address.ts';
import type { NbdAddress } from './address.ts';

/** Everything but the owner's read and write. */
const SOCKET_UMASK = 0o177;

/**
 * Listens on `address`. Throws StorageError `exists` when it is taken, `invalid` when it cannot be.
 */
export async function listen(
  address: NbdAddress,
  onSocket: (socket: Socket) => void,
): Promise<Server> {
  // Half-open: a client may close its side and still wait for the replies to what it sent.
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, onSocket);
  try {
    await bind(server, address);
  } catch (error) {
    if (!hasCode(error, 'EADDRINUSE') || !('path' in address)) throw refused(address, error);
    if (!(await isStale(address.path))) throw refused(address, error);
    await unlink(address.path);
    await bind(server, address).catch((second: unknown) => {
      throw refused(address, second);
    });
  }
  return server;
}

function bind(server: Server, address: NbdAddress): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', () => {
    server.off('error', reject);
    resolve();
  });
  if (!('path' in address)) {
    server.listen({ host: address.host, port: address.port });
    return promise;
  }
  // The socket is bound within this call, so no other file is created under this mask.
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path: address.path });
  } finally {
    process.umask(before);
  }
  return promise;
}

/** True when `path` is a socket on which nobody listens. */
async function isStale(path: string): Promise<boolean> {
  const info = await lstat(path);
  if (!info.isSocket()) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect({ path });
  probe.once('connect', () => resolve(false));
  probe.once('error', (error) => resolve(hasCode(error, 'ECONNREFUSED')));
  try {
    return await promise;
  } finally {
    probe.destroy();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function refused(address: NbdAddress, cause: unknown): StorageError {
  const taken = hasCode(cause, 'EADDRINUSE');
  const why = taken ? 'something else listens there; stop it or choose another' : messageOf(cause);
  const message = `cannot listen on ${formatNbdAddress(address)}: ${why}`;
  return new StorageError(taken ? 'exists' : 'invalid', message, { cause });
}

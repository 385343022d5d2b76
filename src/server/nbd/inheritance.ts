// Sockets that go from one process to the next: what a server gives up and what its successor
// takes.
//
//   listeners    the successor inherits their descriptors when it is started. The first process
//                closes its own when it stops serving; clients that connect from then on wait in
//                the kernel's queue until the successor accepts them.
//   connections  are sent one by one, at rest, with the state that session.ts describes
//
// Node has no public call for two things that this takes: the descriptor of a listener, and to stop
// reading a socket (`pause` only stops at a full buffer, and what is read meanwhile would be lost
// with the process). Both are taken from the native handle, here and nowhere else.

import { closeSync, linkSync, renameSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { StorageError } from '../../base/errors.ts';
import type { NbdAddress } from './address.ts';
import { formatHostPort } from './address.ts';
import type { ConnectionState } from './session.ts';

/** A listening socket by the address that was asked for, whatever port the system chose. */
export interface ListenerHandle {
  readonly address: string;
  readonly fd: number;
}

export interface ReleasedConnection {
  readonly socket: Socket;
  readonly state: ConnectionState;
}

/** What a server begins with when it takes another one's place. */
export interface Inheritance {
  readonly listeners: readonly ListenerHandle[];
  readonly connections: readonly ReleasedConnection[];
}

interface NativeHandle {
  readonly fd: number;
  readStop(): number;
}

/** How a listener is known to its successor: the address without its options. */
export function listenerKey(address: NbdAddress): string {
  return 'path' in address ? `unix:${address.path}` : formatHostPort(address);
}

export function listenerHandle(listener: Server, asked: NbdAddress): ListenerHandle {
  return { address: listenerKey(asked), fd: nativeHandle(listener).fd };
}

/** After this call nothing is read from the socket; what was is in `data` events before it. */
export function stopReading(socket: Socket): void {
  socket.pause();
  while (socket.read() !== null);
  nativeHandle(socket).readStop();
}

/**
 * A socket that was received is kept as it is until its connection goes on. To be called in the
 * turn in which it came.
 */
export function holdSocket(socket: Socket): Socket {
  socket.pause();
  // As the listener makes them: a client may close its side and still wait for replies.
  socket.allowHalfOpen = true;
  // A client that is gone shows when the connection goes on.
  socket.on('error', () => {});
  return socket;
}

/**
 * Accepts on a listening socket that was inherited. Its file is not removed when it closes: who
 * stops for good does that.
 */
export async function adoptListener(
  fd: number,
  onSocket: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, onSocket);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ fd }, resolve);
  await promise;
  server.off('error', reject);
  return server;
}

/**
 * Those of `all` for these addresses, in their order; undefined where there is none. Closes the
 * others.
 */
export function takeListeners(
  all: readonly ListenerHandle[],
  addresses: readonly NbdAddress[],
): (number | undefined)[] {
  const left = [...all];
  const found = addresses.map((address) => {
    const key = listenerKey(address);
    const at = left.findIndex((one) => one.address === key);
    return at < 0 ? undefined : left.splice(at, 1)[0]!.fd;
  });
  for (const { fd } of left) closeSync(fd);
  return found;
}

/**
 * Stops accepting, but leaves the socket's file to the successor. Node removes the file of a socket
 * that it has bound: a second name brings it back within the same turn.
 */
export function closeButKeepFile(listener: Server, asked: NbdAddress): void {
  if (!('path' in asked)) {
    listener.close();
    return;
  }
  const spare = `${asked.path}~`;
  ignoreMissing(() => unlinkSync(spare));
  // Somebody may have removed the file: then there is nothing to keep.
  ignoreMissing(() => linkSync(asked.path, spare));
  listener.close();
  ignoreMissing(() => renameSync(spare, asked.path));
  // A listener that was inherited leaves its file: both names are then one file, and rename(2)
  // does nothing.
  ignoreMissing(() => unlinkSync(spare));
}

/** Of a listener that was inherited, when it closes for good. */
export function removeSocketFile(asked: NbdAddress): void {
  if ('path' in asked) ignoreMissing(() => unlinkSync(asked.path));
}

function ignoreMissing(work: () => void): void {
  try {
    work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function nativeHandle(of: Server | Socket): NativeHandle {
  const handle = (of as { readonly _handle?: Partial<NativeHandle> | null })._handle;
  if (typeof handle?.fd !== 'number' || handle.fd < 0) {
    throw new StorageError(
      'unavailable',
      'a socket of this Node cannot be given to another process',
    );
  }
  return handle as NativeHandle;
}

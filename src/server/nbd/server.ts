// The NBD server: listening sockets, their connections, the limit on those, and the graceful end.

import type { Server, Socket } from 'node:net';
import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDeviceDirectory } from '../../volume/block-device.ts';
import type { TlsCredentials } from '../tls/credentials.ts';
import { type AccessTable, directoryFor } from './access.ts';
import { formatNbdAddress, tlsModeOf } from './address.ts';
import type { NbdAddress, TlsMode } from './address.ts';
import { BufferPool } from './buffer-pool.ts';
import { ByteBudget } from './byte-budget.ts';
import { Connection } from './connection.ts';
import { createCounters } from './counters.ts';
import type { NbdCounters } from './counters.ts';
import { POOL_FREE_BYTES_MAX, SHARED_BYTES_MAX } from './limits.ts';
import {
  adoptListener,
  closeButKeepFile,
  listenerHandle,
  removeSocketFile,
  takeListeners,
} from './inheritance.ts';
import type { Inheritance, ListenerHandle, ReleasedConnection } from './inheritance.ts';
import { listen } from './listener.ts';
import { type Release, releaseConnections } from './release.ts';
import { resumeSession } from './session.ts';
import type { Session } from './session.ts';
import { attachSocket, createSocketWire } from './socket-wire.ts';
import { startTls } from './tls-socket.ts';
import type { ConnectionSecurity } from './tls-socket.ts';

export interface NbdServerDeps {
  readonly directory: BlockDeviceDirectory;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent: no TLS. */
  readonly tls?: TlsCredentials | undefined;
}

export interface NbdServerSettings {
  readonly addresses: readonly NbdAddress[];
  /** Who may open what. Absent: everybody may open everything. */
  readonly access?: AccessTable | undefined;
  /** Connections at one time; a further one is closed at once. */
  readonly connectionsMax: number;
  /** What all connections hold past their own share; past it their sockets are not read. */
  readonly sharedBytesMax: number;
  /** How long a client may take for the handshake. */
  readonly handshakeMs: number;
  /** How long `stop` waits for clients to take their replies before it cuts them off. */
  readonly stopMs: number;
  /** What the server that it replaces has left. */
  readonly inheritance?: Inheritance | undefined;
}

/** For spreading beside `addresses`. */
export const NBD_SERVER_DEFAULTS: Omit<NbdServerSettings, 'addresses'> = {
  connectionsMax: 128,
  sharedBytesMax: SHARED_BYTES_MAX,
  handshakeMs: 30_000,
  stopMs: 10_000,
};

export interface NbdServer {
  /**
   * Where it listens, in the order asked; a port that was 0 is now the one that the system chose.
   */
  readonly addresses: readonly NbdAddress[];
  readonly counters: Readonly<NbdCounters>;
  /** Connections now. */
  connectionCount(): number;
  /** What connections hold past their own share, and how many were dropped for it. */
  readonly memory: Pick<ByteBudget, 'bytes' | 'evictions'>;
  /**
   * Stops listening, refuses new requests with ESHUTDOWN, answers those under way, and hangs up.
   * Resolves when no call on any device is under way and every handle is closed. Idempotent.
   */
  stop(): Promise<void>;
  /** For the process that is to replace this one: it inherits them when it is started. */
  listeners(): readonly ListenerHandle[];
  /**
   * Stops listening, but leaves the sockets to whoever has inherited them; gives every connection
   * up at rest. `stop` has nothing left to do afterwards.
   */
  release(): Promise<Release>;
}

/**
 * Listens on every address. When one fails, none stays open: throws `exists` (taken) or `invalid`.
 */
export async function startNbdServer(
  { directory, clock, log, tls }: NbdServerDeps,
  settings: NbdServerSettings,
): Promise<NbdServer> {
  const counters = createCounters();
  const pool = new BufferPool(POOL_FREE_BYTES_MAX);
  const budget = new ByteBudget(settings.sharedBytesMax, clock);
  const connections = new Map<Connection, Socket>();
  let stopping: Promise<void> | undefined;

  function onSocket(socket: Socket, address: NbdAddress): void {
    if (stopping !== undefined || connections.size >= settings.connectionsMax) {
      log.warn('nbd.connection.refused', { connections: connections.size });
      socket.destroy();
      return;
    }
    connect(socket, tlsModeOf(address, tls !== undefined));
  }

  function connect(
    socket: Socket,
    mode: TlsMode,
    resumed?: { readonly session: Session; readonly pending: Buffer },
  ): Connection {
    counters.connections += 1;
    const { access } = settings;
    const wire = createSocketWire(socket);
    const security: ConnectionSecurity | undefined =
      tls === undefined || mode === 'off'
        ? undefined
        : {
            mode,
            start(onSecure) {
              const replace = (secure: Socket): void => {
                wire.replace(secure);
                attachSocket(secure, connection);
              };
              const deps = { credentials: tls, access, directory, log, socket, detach, replace };
              startTls(deps, onSecure);
            },
          };
    const visible = directoryFor(directory, access, undefined);
    const deps = { directory: visible, clock, log, counters, pool, budget, security };
    const connection = new Connection(deps, settings, wire, resumed);
    connections.set(connection, socket);
    const detach = attachSocket(socket, connection);
    void connection.done.then(() => connections.delete(connection));
    return connection;
  }

  /** Goes on with a connection where another process left it, or closes it and says why. */
  function adopt({ socket, state }: ReleasedConnection): void {
    if (socket.destroyed) return;
    const visible = directoryFor(directory, settings.access, undefined);
    let session: Session;
    try {
      session = resumeSession(visible, state);
    } catch (error) {
      const message = messageOf(error);
      log.error('nbd.connection.not.resumed', { export: state.exportName, message });
      socket.destroy();
      return;
    }
    // Takes effect in a later turn: a connection that holds what it got may still pause it.
    socket.resume();
    const connection = connect(socket, 'off', { session, pending: state.pending });
    if (socket.readableEnded) connection.receiveEnd();
  }

  const listeners: Server[] = [];
  const inherited = takeListeners(settings.inheritance?.listeners ?? [], settings.addresses);
  try {
    for (const [i, address] of settings.addresses.entries()) {
      const take = (socket: Socket): void => onSocket(socket, address);
      const fd = inherited[i];
      listeners.push(
        fd === undefined ? await listen(address, take) : await adoptListener(fd, take),
      );
    }
    for (const one of settings.inheritance?.connections ?? []) adopt(one);
  } catch (error) {
    await Promise.all([...connections.keys()].map(drop));
    await Promise.all(listeners.map(closeListener));
    throw error;
  }
  const addresses = listeners.map((one, i) => boundAddress(one, settings.addresses[i]!));
  log.info('nbd.listening', { addresses: addresses.map(formatNbdAddress) });

  async function stop(): Promise<void> {
    const listenersClosed = listeners.map(closeListener);
    for (const [i, address] of settings.addresses.entries()) {
      if (inherited[i] !== undefined) removeSocketFile(address);
    }
    const open = [...connections.keys()];
    for (const connection of open) connection.stop();
    const cancel = clock.after(settings.stopMs, () => {
      for (const connection of open) connection.destroy();
    });
    await Promise.all(open.map((connection) => connection.done));
    cancel();
    await Promise.all(listenersClosed);
    log.info('nbd.stopped', { connections: counters.connections });
  }

  function release(): Promise<Release> {
    assert(stopping === undefined, 'a server that stops is not released');
    for (const [i, one] of listeners.entries()) closeButKeepFile(one, settings.addresses[i]!);
    const work = releaseConnections(connections, { clock, log });
    stopping = work.then(() => undefined);
    return work;
  }

  return {
    addresses,
    counters,
    connectionCount: () => connections.size,
    memory: budget,
    stop: () => (stopping ??= stop()),
    listeners: () => listeners.map((one, i) => listenerHandle(one, settings.addresses[i]!)),
    release,
  };
}

function drop(connection: Connection): Promise<void> {
  connection.destroy();
  return connection.done;
}

/** Resolves when the listener and the sockets that it accepted have closed. */
function closeListener(listener: Server): Promise<void> {
  return new Promise((resolve) => {
    listener.close(() => resolve());
  });
}

function boundAddress(listener: Server, asked: NbdAddress): NbdAddress {
  const bound = listener.address();
  if ('path' in asked || bound === null || typeof bound === 'string') return asked;
  return { ...asked, port: bound.port };
}

// The NBD server: listening sockets, their connections, the limit on those, and the graceful end.

import type { Server, Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { BlockDeviceDirectory } from '../../volume/block-device.ts';
import { formatNbdAddress } from './address.ts';
import type { NbdAddress } from './address.ts';
import { BufferPool } from './buffer-pool.ts';
import { Connection } from './connection.ts';
import { createCounters } from './counters.ts';
import type { NbdCounters } from './counters.ts';
import { POOL_FREE_BYTES_MAX } from './limits.ts';
import { listen } from './listener.ts';
import { attachSocket, createSocketWire } from './socket-wire.ts';

export interface NbdServerDeps {
  readonly directory: BlockDeviceDirectory;
  readonly clock: Clock;
  readonly log: Log;
}

export interface NbdServerSettings {
  readonly addresses: readonly NbdAddress[];
  /** Connections at one time; a further one is closed at once. */
  readonly connectionsMax: number;
  /** How long a client may take for the handshake. */
  readonly handshakeMs: number;
  /** How long `stop` waits for clients to take their replies before it cuts them off. */
  readonly stopMs: number;
}

/** For spreading beside `addresses`. */
export const NBD_SERVER_DEFAULTS: Omit<NbdServerSettings, 'addresses'> = {
  connectionsMax: 128,
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
  /**
   * Stops listening, refuses new requests with ESHUTDOWN, answers those under way, and hangs up.
   * Resolves when no call on any device is under way and every handle is closed. Idempotent.
   */
  stop(): Promise<void>;
}

/**
 * Listens on every address. When one fails, none stays open: throws `exists` (taken) or `invalid`.
 */
export async function startNbdServer(
  { directory, clock, log }: NbdServerDeps,
  settings: NbdServerSettings,
): Promise<NbdServer> {
  const counters = createCounters();
  const pool = new BufferPool(POOL_FREE_BYTES_MAX);
  const connections = new Set<Connection>();
  let stopping: Promise<void> | undefined;

  function onSocket(socket: Socket): void {
    if (stopping !== undefined || connections.size >= settings.connectionsMax) {
      log.warn('nbd.connection.refused', { connections: connections.size });
      socket.destroy();
      return;
    }
    counters.connections += 1;
    const deps = { directory, clock, log, counters, pool };
    const connection = new Connection(deps, settings, createSocketWire(socket));
    connections.add(connection);
    attachSocket(socket, connection);
    void connection.done.then(() => connections.delete(connection));
  }

  const listeners: Server[] = [];
  try {
    for (const address of settings.addresses) listeners.push(await listen(address, onSocket));
  } catch (error) {
    await Promise.all([...connections].map(drop));
    await Promise.all(listeners.map(closeListener));
    throw error;
  }
  const addresses = listeners.map((one, i) => boundAddress(one, settings.addresses[i]!));
  log.info('nbd.listening', { addresses: addresses.map(formatNbdAddress) });

  async function stop(): Promise<void> {
    const listenersClosed = listeners.map(closeListener);
    const open = [...connections];
    for (const connection of open) connection.stop();
    const cancel = clock.after(settings.stopMs, () => {
      for (const connection of open) connection.destroy();
    });
    await Promise.all(open.map((connection) => connection.done));
    cancel();
    await Promise.all(listenersClosed);
    log.info('nbd.stopped', { connections: counters.connections });
  }

  return {
    addresses,
    counters,
    connectionCount: () => connections.size,
    stop: () => (stopping ??= stop()),
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
  return { host: asked.host, port: bound.port };
}

// Brings all connections to rest between two requests and gives them up, for a successor.
//
//   1. Handshakes that are under way may end; what has not by then is hung up.
//   2. Every connection: no request is begun any more; those that were are answered and sent.
//   3. In the clear: the socket is not read any more, and is released with its state.
//      Over TLS: OpenSSL has the keys, so it is closed; the client may connect again.
//
// A client that sends half a request or does not read its answers is cut off after a while: the
// others wait for it.

import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { Connection } from './connection.ts';
import { stopReading } from './inheritance.ts';
import type { ReleasedConnection } from './inheritance.ts';

/** Handshakes take a few round trips. Nobody but who connects just now waits for this. */
const HANDSHAKE_MS = 1000;
const HANDSHAKE_POLL_MS = 10;
/** All clients wait: long enough for a slow network, short against their time limits (30 s). */
const CLIENT_MS = 5000;

export interface Release {
  readonly connections: readonly ReleasedConnection[];
  /** Clients that must connect again. */
  readonly closed: number;
}

export async function releaseConnections(
  connections: ReadonlyMap<Connection, Socket>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<Release> {
  const handshaking = (): boolean => [...connections.keys()].some((one) => !one.negotiated);
  const deadlineMs = clock.monotonicMs() + HANDSHAKE_MS;
  while (handshaking() && clock.monotonicMs() < deadlineMs) await clock.sleep(HANDSHAKE_POLL_MS);

  const open = [...connections];
  let cancel = clock.after(CLIENT_MS, cutOff);
  function cutOff(): void {
    for (const connection of connections.keys()) {
      if (!connection.idle) continue;
      log.warn('nbd.connection.cut', {
        why: 'the client sends half a request, or reads no answer',
      });
      connection.destroy();
    }
    cancel = clock.after(CLIENT_MS, cutOff);
  }
  try {
    const released = await Promise.all(open.map(([one, socket]) => releaseOne(one, socket)));
    const found = released.filter((one) => one !== undefined);
    return { connections: found, closed: open.length - found.length };
  } finally {
    cancel();
  }
}

async function releaseOne(
  connection: Connection,
  socket: Socket,
): Promise<ReleasedConnection | undefined> {
  if (!connection.negotiated) connection.destroy();
  else if ((await connection.freeze()) && !socket.destroyed) {
    if (connection.secure) {
      // Closing takes the client's answer. Nothing is under way for it: nobody waits for that.
      connection.hangUp();
      return undefined;
    }
    // Before the state: it holds what was read until now.
    stopReading(socket);
    const state = connection.release();
    if (state !== undefined) return { socket, state };
    connection.destroy();
  }
  await connection.done;
  return undefined;
}

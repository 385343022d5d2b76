// The new process's part of an upgrade: says when it is prepared, takes what it is given, says when
// it serves.
//
// A predecessor that goes away before it has released everything has failed: so has this process,
// which then holds nothing. One that goes away later is not missed.

import type { Socket } from 'node:net';
import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import { holdSocket } from '../nbd/inheritance.ts';
import type { Inheritance, ListenerHandle, ReleasedConnection } from '../nbd/inheritance.ts';
import { decodeConnection, HANDOVER_PROTOCOL, HANDOVER_VARIABLE, toSuccessor } from './protocol.ts';
import type { Hello, ToPredecessor } from './protocol.ts';

export interface Legacy extends Inheritance {
  /** Of the writer that closed the branch: absent when it was served read-only. */
  readonly epoch: number | undefined;
}

export interface Succession {
  /** Where it was typed at the terminal of the first process. */
  readonly passphrase: string | undefined;
  /** Says what is prepared, and to serve what; resolves with what the old process has left. */
  takeOver(version: string, serves: string): Promise<Legacy>;
  /** Every connection goes on: the old process may go. */
  serving(): Promise<void>;
  /** Tells the old process why not. Never rejects. */
  failed(error: unknown): Promise<void>;
}

/**
 * Undefined for a process that nobody started as a successor. `onStop` is called when the old
 * process was told to stop behind the point where it could.
 */
export async function openSuccession(onStop: () => void): Promise<Succession | undefined> {
  if (process.env[HANDOVER_VARIABLE] === undefined || process.send === undefined) return undefined;
  // The successor of this process is started by it alone.
  delete process.env[HANDOVER_VARIABLE];

  const greeted = Promise.withResolvers<Hello>();
  const released = Promise.withResolvers<Legacy>();
  // Whoever waits hears of it; nobody may wait yet.
  greeted.promise.catch(() => {});
  released.promise.catch(() => {});
  let listeners: readonly ListenerHandle[] = [];
  const connections: ReleasedConnection[] = [];
  let told = false;

  function onMessage(raw: unknown, socket: unknown): void {
    const message = toSuccessor.parse(raw);
    switch (message.type) {
      case 'hello':
        ({ listeners } = message);
        return greeted.resolve(message);
      case 'connection':
        connections.push({
          socket: holdSocket(socket as Socket),
          state: decodeConnection(message),
        });
        return undefined;
      case 'released':
        told = true;
        return released.resolve({ listeners, connections, epoch: message.epoch });
      case 'stop':
        return onStop();
    }
  }
  // A socket that nobody serves would keep its client waiting, and this process alive.
  function hangUp(): void {
    for (const { socket } of connections) socket.destroy();
  }
  process.on('message', onMessage);
  process.once('disconnect', () => {
    if (told) return;
    hangUp();
    const gone = new StorageError('aborted', 'the server that was to be replaced is gone');
    greeted.reject(gone);
    released.reject(gone);
  });

  const { protocol, passphrase } = await greeted.promise;
  const succession: Succession = {
    passphrase,
    async takeOver(version, serves) {
      await send({ type: 'prepared', version, serves });
      return released.promise;
    },
    async serving() {
      await send({ type: 'serving' });
      leave();
    },
    async failed(error) {
      hangUp();
      const kind = isStorageError(error) ? error.kind : 'unavailable';
      await send({ type: 'failed', kind, message: messageOf(error) });
      leave();
    },
  };
  if (protocol !== HANDOVER_PROTOCOL) {
    const why = `the running server hands over by protocol ${protocol}, this version knows`;
    const error = new StorageError(
      'invalid',
      `${why} ${HANDOVER_PROTOCOL}: stop it and start anew`,
    );
    await succession.failed(error);
    throw error;
  }
  return succession;
}

function leave(): void {
  if (process.connected) process.disconnect?.();
}

/** Resolves when it is sent, or when nobody is there to hear it. */
function send(message: ToPredecessor): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve();
    process.send(message, undefined, {}, () => resolve());
  });
}

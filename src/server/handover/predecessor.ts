// The old process's part of an upgrade.
//
//   1. Start the new process; wait until it has the store, the key and its settings checked.
//   2. Make durable what can be: clients are served meanwhile, and wait the less afterwards.
//   3. Release: no request is begun, those that were are answered, the branch is closed.
//   4. Send every connection, say that all is released, wait until the new process serves.
//
// What fails in 1 or 2 changes nothing: the new process is ended, this one serves on. Behind that
// there is no way back: a failure ends both, and the clients' connections with them. A connection
// is sent only when the branch has been closed cleanly: else a write that was answered may be lost,
// and its client must hear of it.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ListenerHandle, ReleasedConnection } from '../nbd/inheritance.ts';
import { encodeConnection, HANDOVER_PROTOCOL } from './protocol.ts';
import { startSuccessor, type SuccessorProcess } from './successor-process.ts';

/** Loading the program, a few requests to the store, deriving the key: seconds, at the worst. */
const PREPARE_MS = 60_000;

/** What can be handed over; the composition root has it. */
export interface HandoverSource {
  /** Why this server cannot be replaced while it runs. */
  readonly obstacle: string | undefined;
  /** Store, branch and snapshot. */
  readonly serves: string;
  listeners(): readonly ListenerHandle[];
  /** Resolves when all that was written before is durable. */
  barrier(): Promise<void>;
  /**
   * Stops everything: when it resolves the branch is closed. Rejects when it was not closed
   * cleanly; the connections are closed then.
   */
  release(): Promise<Released>;
}

export interface Released {
  readonly connections: readonly ReleasedConnection[];
  /** Clients that must connect again. */
  readonly closed: number;
  /** Absent when the branch was served read-only. */
  readonly epoch: number | undefined;
}

export interface UpgradeReport {
  readonly pid: number;
  readonly version: string;
  /** Connections that went on, and those that were closed. */
  readonly connections: number;
  readonly closed: number;
  /** How long clients waited, as this process saw it. */
  readonly waitedMs: number;
}

export interface UpgradeDeps {
  readonly source: HandoverSource;
  readonly clock: Clock;
  readonly log: Log;
  /** Only where it was typed. */
  readonly passphrase: string | undefined;
  readonly onProgress: (what: string) => void;
  /** Cancels 1 and 2. */
  readonly signal: AbortSignal;
}

/** A new process that waits for this one to let go. */
export interface Prepared {
  readonly successor: SuccessorProcess;
  readonly version: string;
}

/** Steps 1 and 2. Whatever is thrown, this process serves on and the new one is gone. */
export async function prepareSuccessor(deps: UpgradeDeps): Promise<Prepared> {
  const { source, clock, passphrase, onProgress, signal } = deps;
  if (source.obstacle !== undefined) throw new StorageError('invalid', source.obstacle);
  if (process.pid === 1) {
    const why = 'this is the first process of its container, which ends with it';
    throw new StorageError('invalid', `${why}: stop it, and start a new one`);
  }
  onProgress('starting the new process');
  const successor = startSuccessor(source.listeners());
  const given = Promise.withResolvers<never>();
  const late = new StorageError('unavailable', `the new process was not ready in ${PREPARE_MS} ms`);
  const cancel = clock.after(PREPARE_MS, () => given.reject(late));
  const onAbort = (): void => given.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    const { listeners } = successor;
    const hello = { type: 'hello', protocol: HANDOVER_PROTOCOL, listeners, passphrase } as const;
    await Promise.race([successor.send(hello), given.promise]);
    const reply = await Promise.race([successor.next(), given.promise]);
    assert(reply.type === 'prepared', 'the new process begins with `prepared`');
    if (reply.serves !== source.serves) {
      const why = 'the configuration now names another store, branch or snapshot';
      throw new StorageError(
        'invalid',
        `${why}: clients cannot go on there; stop and start instead`,
      );
    }
    onProgress('making durable what was written');
    await Promise.race([source.barrier(), given.promise]);
    signal.throwIfAborted();
    return { successor, version: reply.version };
  } catch (error) {
    await successor.kill();
    throw error;
  } finally {
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Steps 3 and 4. Whatever is thrown, this server has stopped and its clients are gone. */
export async function handOver(
  { source, clock, log, onProgress }: UpgradeDeps,
  { successor, version }: Prepared,
): Promise<UpgradeReport> {
  const { pid } = successor;
  const beganMs = clock.monotonicMs();
  let left: readonly ReleasedConnection[] = [];
  try {
    onProgress('closing the branch');
    const { connections, closed, epoch } = await source.release();
    left = connections;
    const releasedMs = clock.monotonicMs() - beganMs;
    onProgress('handing over to the new process');
    for (const { socket, state } of connections) {
      // A client that has hung up meanwhile is nobody's.
      if (!socket.destroyed) await successor.send(encodeConnection(state), socket);
    }
    await successor.send({ type: 'released', connections: connections.length, epoch });
    const reply = await successor.next();
    assert(reply.type === 'serving', 'the new process serves, or says why not');
    successor.leave();
    const waitedMs = Math.round(clock.monotonicMs() - beganMs);
    log.info('upgrade.done', {
      newPid: pid,
      version,
      connections: connections.length,
      closed,
      releasedMs: Math.round(releasedMs),
      waitedMs,
    });
    return { pid, version, connections: connections.length, closed, waitedMs };
  } catch (error) {
    for (const { socket } of left) socket.destroy();
    await successor.kill();
    throw error;
  }
}

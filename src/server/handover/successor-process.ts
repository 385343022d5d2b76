// The new process as the old one sees it: started, spoken to, ended.
//
// It is this program as it lies on disk now: the same Node, entry script, arguments and
// environment, in a session of its own, so that it outlives us and the terminal's Ctrl-C.

import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { ListenerHandle } from '../nbd/inheritance.ts';
import { HANDOVER_VARIABLE, toPredecessor } from './protocol.ts';
import type { ToPredecessor, ToSuccessor } from './protocol.ts';

/** Standard input, output, error, and the channel. */
const FIRST_INHERITED_FD = 4;

export interface SuccessorProcess {
  readonly pid: number;
  /** Where the new process finds the listeners. */
  readonly listeners: readonly ListenerHandle[];
  send(message: ToSuccessor, socket?: Socket): Promise<void>;
  /** The next message. Rejects with what it says went wrong, and when it has ended. */
  next(): Promise<ToPredecessor>;
  /** Resolves when it is gone. */
  kill(): Promise<void>;
  /** It goes on alone. */
  leave(): void;
}

export function startSuccessor(listeners: readonly ListenerHandle[]): SuccessorProcess {
  const script = process.argv[1];
  if (script === undefined) throw new StorageError('invalid', 'this process has no entry script');
  const child = spawn(process.execPath, [...process.execArgv, script, ...process.argv.slice(2)], {
    detached: true,
    env: { ...process.env, [HANDOVER_VARIABLE]: String(process.pid) },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...listeners.map(({ fd }) => fd)],
  });
  const received: (ToPredecessor | StorageError)[] = [];
  let wake = (): void => {};
  const take = (what: ToPredecessor | StorageError): void => {
    received.push(what);
    wake();
  };
  child.on('message', (raw) => take(decode(raw)));
  child.on('error', (error) => take(endedError(messageOf(error))));
  const gone = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      take(endedError(`it ended (${signal ?? `exit code ${code}`}): its log says why`));
      resolve();
    });
    child.once('error', () => resolve());
  });
  return {
    pid: child.pid ?? 0,
    listeners: listeners.map(({ address }, i) => ({ address, fd: FIRST_INHERITED_FD + i })),
    send: (message, socket) => send(child, message, socket),
    async next() {
      while (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const first = received.shift()!;
      if (first instanceof StorageError) throw first;
      return first;
    },
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    leave() {
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

function send(child: ChildProcess, message: ToSuccessor, socket?: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    child.send(message, socket, (error) => {
      if (error === null) resolve();
      else reject(endedError(messageOf(error)));
    });
  });
}

function decode(raw: unknown): ToPredecessor | StorageError {
  const result = toPredecessor.safeParse(raw);
  if (!result.success) return endedError('it says what this version does not understand');
  const message = result.data;
  return message.type === 'failed' ? endedError(message.message) : message;
}

function endedError(why: string): StorageError {
  return new StorageError('unavailable', `the new process cannot take over: ${why}`);
}

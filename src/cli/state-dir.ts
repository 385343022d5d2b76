// The state directory belongs to one daemon at a time: it holds the journal, caches and admin.sock.
//
// `<state>/lock` is a JSON file { pid, started } that is created whole and exclusively:
//   1. write it under a name of our own, then link(2) it to `lock`: link fails when `lock` is there
//   2. taken: the holder lives if its pid does and began when the file says (pids are used again),
//      or if something answers at admin.sock (a daemon in another container has another pid space)
//   3. a dead holder's file is removed under `lock.takeover`, a directory that one process at a
//      time can make; it checks again there, so nobody removes the lock of the one who was faster
//
// The lock is a courtesy with a clear message, not the safety: the store fences a second writer.

import { linkSync, mkdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, StorageError } from '../base/errors.ts';
import { processStart } from '../base/process-start.ts';

export interface StateLock {
  release(): void;
}

interface Holder {
  readonly pid: number;
  /** Kernel ticks between boot and the process's start; empty where /proc does not tell. */
  readonly started: string;
}

/** Makes `dir` if need be. Throws `exists` when another daemon uses it. */
export async function lockStateDir(
  dir: string,
  answers: () => Promise<boolean>,
): Promise<StateLock> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const why = messageOf(cause);
    throw new StorageError('invalid', `cannot make the state directory: ${why}`, { cause });
  }
  const path = join(dir, 'lock');
  if (!tryTake(path)) {
    if (isAlive(readHolder(path)) || (await answers())) throw heldError(dir, readHolder(path));
    takeOver(dir, path);
  }
  return { release: () => release(path) };
}

function tryTake(path: string): boolean {
  const own = `${path}.${process.pid}`;
  const holder: Holder = { pid: process.pid, started: processStart(process.pid) };
  writeFileSync(own, JSON.stringify(holder), { mode: 0o600 });
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    unlinkSync(own);
  }
}

/** Synchronous from the check to the new lock: the directory is held for microseconds. */
function takeOver(dir: string, path: string): void {
  const guard = `${path}.takeover`;
  try {
    mkdirSync(guard);
  } catch (cause) {
    const what = `another process is taking over ${dir}; if none is, remove ${guard}`;
    throw new StorageError('unavailable', what, { cause });
  }
  try {
    if (isAlive(readHolder(path))) throw heldError(dir, readHolder(path));
    removeFile(path);
    if (!tryTake(path)) throw heldError(dir, readHolder(path));
  } finally {
    rmdirSync(guard);
  }
}

function release(path: string): void {
  // Only our own: an operator may have removed it, and another daemon begun.
  const holder = readHolder(path);
  if (holder?.pid === process.pid && holder.started === processStart(process.pid)) removeFile(path);
}

function readHolder(path: string): Holder | undefined {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Partial<Holder>;
    if (typeof value.pid !== 'number' || typeof value.started !== 'string') return undefined;
    return { pid: value.pid, started: value.started };
  } catch {
    // Gone, or not a lock of ours: nobody who could be named holds it.
    return undefined;
  }
}

function isAlive(holder: Holder | undefined): boolean {
  if (holder === undefined) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: there is such a process, of another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return processStart(holder.pid) === holder.started;
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function heldError(dir: string, holder: Holder | undefined): StorageError {
  const who = holder === undefined ? 'another varve' : `another varve (pid ${holder.pid})`;
  return new StorageError(
    'exists',
    `the state directory ${dir} is in use by ${who}: stop it, or give this one another --state`,
  );
}

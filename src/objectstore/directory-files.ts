// Whole writes and whole reads of files: the kernel may do less than it was asked for, these do
// not.

import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { StorageError } from '../base/errors.ts';
import { throwIfAborted } from './keys.ts';

const open = promisify(fs.open);
const closeFd = promisify(fs.close);
const fsync = promisify(fs.fsync);

/** Makes the file, which must not exist, and returns when its bytes and its size are on disk. */
export async function writeDurably(
  path: string,
  body: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const fd = await open(path, 'wx', 0o600);
  try {
    for (const part of body) {
      let at = 0;
      while (at < part.length) {
        throwIfAborted(signal, `write of ${path}`);
        at += await write(fd, part, at);
      }
    }
    throwIfAborted(signal, `write of ${path}`);
    // fsync, not fdatasync: for a new file, whose size must be made durable, both cost one journal
    // commit.
    await fsync(fd);
  } finally {
    await closeFd(fd);
  }
}

/** Appends `part` from `at` on; gives how many bytes were taken. */
function write(fd: number, part: Uint8Array, at: number): Promise<number> {
  return new Promise((done, fail) => {
    fs.write(fd, part, at, part.length - at, null, (error, written) => {
      if (error === null) done(written);
      else fail(error);
    });
  });
}

/**
 * Gives an owned buffer with exactly the bytes `[start, end)`; `corrupt` when the file ends before.
 */
export async function readFully(
  fd: number,
  start: number,
  end: number,
  key: string,
): Promise<Uint8Array> {
  // Not from the shared pool: callers keep parts of objects, which must not pin unrelated memory.
  const bytes = Buffer.allocUnsafeSlow(end - start);
  let at = 0;
  while (at < bytes.length) {
    const count = await read(fd, bytes, at, start + at);
    if (count === 0) {
      throw new StorageError('corrupt', `file of ${key} ends at ${start + at}, before ${end}`);
    }
    at += count;
  }
  return bytes;
}

function read(fd: number, target: Buffer, at: number, position: number): Promise<number> {
  return new Promise((done, fail) => {
    fs.read(fd, target, at, target.length - at, position, (error, count) => {
      if (error === null) done(count);
      else fail(error);
    });
  });
}

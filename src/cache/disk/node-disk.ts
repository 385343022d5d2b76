// The machine's disk. Descriptors and callbacks: a FileHandle costs half as much again per call.

import * as fs from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert } from '../../base/assert.ts';
import { StorageError } from '../../base/errors.ts';
import { fileError } from '../../objectstore/directory-errors.ts';
import type { Disk, DiskFile } from './disk.ts';

/** What writev takes in one call (IOV_MAX of Linux and macOS). */
const PARTS_MAX = 1024;

const openFd = promisify(fs.open);
const closeFd = promisify(fs.close);
const truncateFd = promisify(fs.ftruncate);
const statFd = promisify(fs.fstat);

export const nodeDisk: Disk = {
  async list(directory) {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return await readdir(directory);
    } catch (error) {
      throw fileError(error, `list of ${directory}`);
    }
  },
  async open(directory, name) {
    return openNodeFile(join(directory, name));
  },
  async remove(directory, name) {
    try {
      await rm(join(directory, name), { force: true });
    } catch (error) {
      throw fileError(error, `removal of ${join(directory, name)}`);
    }
  },
};

export async function openNodeFile(path: string): Promise<NodeFile> {
  try {
    const flags = fs.constants.O_RDWR | fs.constants.O_CREAT;
    return new NodeFile(await openFd(path, flags, 0o600), path);
  } catch (error) {
    throw fileError(error, `open of ${path}`);
  }
}

/** An open file of the machine; `fd` is for those who do more with it, while it is open. */
export class NodeFile implements DiskFile {
  readonly fd: number;
  readonly #path: string;
  /** Operations under way. The descriptor's number may mean another file once it is closed. */
  #busy = 0;
  #whenIdle: (() => void) | undefined;
  #closed = false;

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.#path = path;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return this.#run('read', async () => {
      let at = 0;
      while (at < target.length) {
        const count = await readSome(this.fd, target, at, position + at);
        if (count === 0) break;
        at += count;
      }
      return at;
    });
  }

  write(parts: readonly Uint8Array[], position: number): Promise<void> {
    return this.#run('write', async () => {
      let rest = parts;
      let at = position;
      while (rest.length > 0) {
        const written = await writeSome(this.fd, rest.slice(0, PARTS_MAX), at);
        at += written;
        rest = withoutFirst(rest, written);
      }
    });
  }

  truncate(bytes: number): Promise<void> {
    return this.#run('truncate', () => truncateFd(this.fd, bytes));
  }

  size(): Promise<number> {
    return this.#run('stat', async () => (await statFd(this.fd)).size);
  }

  async close(): Promise<void> {
    assert(!this.#closed, 'a file is closed once');
    this.#closed = true;
    if (this.#busy > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    try {
      await closeFd(this.fd);
    } catch (error) {
      throw fileError(error, `close of ${this.#path}`);
    }
  }

  async #run<T>(what: string, work: () => Promise<T>): Promise<T> {
    assert(!this.#closed, 'a closed file is left alone');
    this.#busy += 1;
    try {
      return await work();
    } catch (error) {
      throw fileError(error, `${what} of ${this.#path}`);
    } finally {
      this.#busy -= 1;
      if (this.#busy === 0) this.#whenIdle?.();
    }
  }
}

function readSome(fd: number, target: Uint8Array, at: number, position: number): Promise<number> {
  return new Promise((done, fail) => {
    fs.read(fd, target, at, target.length - at, position, (error, count) => {
      if (error === null) done(count);
      else fail(error);
    });
  });
}

function writeSome(fd: number, parts: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((done, fail) => {
    fs.writev(fd, parts, position, (error, written) => {
      if (error !== null) fail(error);
      else if (written > 0) done(written);
      else fail(new StorageError('unavailable', 'the disk took no byte of a write'));
    });
  });
}

/** The parts that are left after `count` bytes: the kernel may take less than it is given. */
export function withoutFirst(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count;
  let first = 0;
  while (first < parts.length && skip >= parts[first]!.length) skip -= parts[first++]!.length;
  const rest = parts.slice(first);
  if (skip > 0) rest[0] = rest[0]!.subarray(skip);
  return rest;
}

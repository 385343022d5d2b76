// The machine's disk for the journal. Appends run in a thread of their own, that waits in
// Atomics.wait: the pool of file operations can be full of others' work, of look-ups of names
// while the network is down above all, and a barrier must not wait for those.
//
//   main      fill the request, add 1 to its number, notify ──┐            ┌─► message: errno or 0
//   thread    Atomics.wait ◄──────────────────────────────────┘─► write ─► fdatasync

import * as fs from 'node:fs';
import { mkdir, open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { StorageError } from '../../base/errors.ts';
import { type NodeFile, nodeDisk, openNodeFile } from '../../cache/disk/node-disk.ts';
import { isShared } from '../../codec/shared.ts';
import { errorCode, fileError } from '../../objectstore/directory-errors.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';
import { type AppendReply, REQUEST_FIELDS, RequestField } from './journal-thread.ts';

const syncFd = promisify(fs.fsync);

export interface NodeJournalDisk extends JournalDisk {
  /** Ends the thread. No append may be under way. */
  close(): Promise<void>;
}

export function createNodeJournalDisk(): NodeJournalDisk {
  const thread = new JournalThread();
  return {
    async list(directory) {
      try {
        return await readdir(directory);
      } catch (error) {
        // To look for a journal makes no folder for it.
        if (errorCode(error) === 'ENOENT') return [];
        throw fileError(error, `list of ${directory}`);
      }
    },
    remove: (directory, name) => nodeDisk.remove(directory, name),
    async open(directory, name) {
      await makeDirectory(directory);
      return asJournalFile(
        await openNodeFile(join(directory, name)),
        join(directory, name),
        thread,
      );
    },
    syncDirectory,
    close: () => thread.close(),
  };
}

/** For its owner only, and durably: a journal in a folder that a crash took away is lost. */
async function makeDirectory(directory: string): Promise<void> {
  let made: string | undefined;
  try {
    made = await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(error, `making of ${directory}`);
  }
  if (made === undefined) return;
  for (let at = directory; ; at = dirname(at)) {
    await syncDirectory(dirname(at));
    if (at === made) return;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, 'r');
    await handle.sync();
  } catch (error) {
    throw fileError(error, `sync of ${directory}`);
  }
}

function asJournalFile(file: NodeFile, path: string, thread: JournalThread): JournalFile {
  return {
    read: (target, position) => file.read(target, position),
    write: (parts, position) => file.write(parts, position),
    truncate: (bytes) => file.truncate(bytes),
    size: () => file.size(),
    close: () => file.close(),
    async append(bytes, position, durable) {
      try {
        await thread.append(file.fd, bytes, position, durable);
      } catch (error) {
        throw fileError(error, `append to ${path}`);
      }
    },
    async sync() {
      try {
        await syncFd(file.fd);
      } catch (error) {
        throw fileError(error, `sync of ${path}`);
      }
    },
  };
}

class JournalThread {
  readonly #request = new BigInt64Array(new SharedArrayBuffer(REQUEST_FIELDS * 8));
  #worker: Worker | undefined;
  /** What the thread knows already: handing over shared memory is not cheap. */
  #buffer: ArrayBufferLike | undefined;
  #waiting: { readonly done: () => void; readonly fail: (error: unknown) => void } | undefined;

  /** Made when it is needed: a server of the store tier needs none. */
  #start(): Worker {
    const worker = new Worker(new URL('./journal-thread.ts', import.meta.url), {
      name: 'varve-journal',
      workerData: this.#request.buffer,
    });
    worker.unref();
    worker.on('message', ({ error }: AppendReply) => {
      this.#settle(error && Object.assign(new Error(error.message), { code: error.code }));
    });
    worker.on('error', (error) => this.#settle(error));
    return worker;
  }

  append(fd: number, bytes: Uint8Array, position: number, durable: boolean): Promise<void> {
    assert(isShared(bytes), 'the thread sees what it writes');
    assert(this.#waiting === undefined, 'one append at a time');
    this.#worker ??= this.#start();
    if (bytes.buffer !== this.#buffer) {
      this.#buffer = bytes.buffer;
      this.#worker.postMessage(bytes.buffer);
    }
    const request = this.#request;
    request[RequestField.fd] = BigInt(fd);
    request[RequestField.offset] = BigInt(bytes.byteOffset);
    request[RequestField.bytes] = BigInt(bytes.length);
    request[RequestField.position] = BigInt(position);
    request[RequestField.durable] = durable ? 1n : 0n;
    return new Promise((done, fail) => {
      this.#waiting = { done, fail };
      Atomics.add(request, RequestField.number, 1n);
      Atomics.notify(request, RequestField.number);
    });
  }

  #settle(error: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error === undefined) waiting?.done();
    else waiting?.fail(error);
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#settle(new StorageError('aborted', 'the journal is closing'));
  }
}

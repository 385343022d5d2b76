// fsync of directories, shared: one fsync serves every change that was made before it began.
//
//     sync() while none runs    → starts one, and waits for it
//     sync() while one runs     → waits for the next one, with all others that came meanwhile
//
// An fsync that failed with EIO leaves the directory in an unknown state, and the kernel may report
// the next one as good although nothing was written again. So after EIO the directory refuses for
// good, until a new process opens the store.

import { close, constants, fsync, open } from 'node:fs';
import { promisify } from 'node:util';

const openFile = promisify(open);
const syncFile = promisify(fsync);
const closeFile = promisify(close);

/**
 * Past this many idle directories their entries are dropped; only those with an fsync under way or
 * broken stay.
 */
const ENTRIES_MAX = 1024;

interface Entry {
  running: Promise<void> | undefined;
  next: Promise<void> | undefined;
  broken: Error | undefined;
}

export class DirectorySync {
  readonly #entries = new Map<string, Entry>();
  /** How many fsyncs were made. */
  count = 0;

  /** Resolves when everything that changed in `directory` before the call is on disk. */
  sync(directory: string): Promise<void> {
    const entry = this.#entry(directory);
    if (entry.broken !== undefined) return Promise.reject(entry.broken);
    if (entry.running === undefined) return this.#start(directory, entry);
    // The one that runs may have read the directory before our change: only the next is sure to
    // have it.
    entry.next ??= entry.running.then(ignore, ignore).then(() => {
      entry.next = undefined;
      return this.#start(directory, entry);
    });
    return entry.next;
  }

  #start(directory: string, entry: Entry): Promise<void> {
    if (entry.broken !== undefined) return Promise.reject(entry.broken);
    this.count += 1;
    const running = syncDirectory(directory).then(
      () => {
        entry.running = undefined;
      },
      (error: Error) => {
        entry.running = undefined;
        if ('code' in error && error.code === 'EIO') entry.broken = error;
        throw error;
      },
    );
    entry.running = running;
    return running;
  }

  #entry(directory: string): Entry {
    const known = this.#entries.get(directory);
    if (known !== undefined) return known;
    if (this.#entries.size >= ENTRIES_MAX) {
      for (const [name, entry] of this.#entries) {
        const idle = entry.running === undefined && entry.broken === undefined;
        if (idle) this.#entries.delete(name);
      }
    }
    const entry: Entry = { running: undefined, next: undefined, broken: undefined };
    this.#entries.set(directory, entry);
    return entry;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const fd = await openFile(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await syncFile(fd);
  } finally {
    await closeFile(fd);
  }
}

function ignore(): void {}

// What the journal's tests build on: a bucket and a machine, which can be cut off from each other,
// and whose power can go.

import assert from 'node:assert/strict';
import type { Clock } from '../../base/clock.ts';
import { StorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { createSeededRng, type Rng } from '../../base/rng.ts';
import { systemClock } from '../../base/system.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createMemoryStore, type MemoryStore } from '../../objectstore/memory.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { type Database, type DatabaseSettings, initStore, openDatabase } from '../db.ts';
import { INIT_OPTIONS, noise, PASSPHRASE, TINY } from '../testing.ts';
import { MemoryJournalDisk } from './memory-journal-disk.ts';

export const INODE = 16;
export const BLOCK = 4096;

const OPTIONS = {
  directory: 'journal',
  used: true,
  abandon: false,
  bytesMax: 64 * 1024 * 1024,
  secondsMax: 300,
  onFailure: 'fail',
  host: 'here',
} as const;

/** What one process has of the store. */
class Link {
  readonly store: ObjectStore;
  /** The network is gone. The store keeps what it has. */
  cut = false;
  /** The process is gone. It must not live on in the test's: it meets a successor. */
  dead = false;

  constructor(memory: MemoryStore, onPut: (key: string) => void | Promise<void>) {
    this.store = {
      putIfAbsent: async (key, body, options) => {
        this.#guard();
        await onPut(key);
        this.#guard();
        return memory.putIfAbsent(key, body, options);
      },
      get: async (key, range, options) => {
        this.#guard();
        return memory.get(key, range, options);
      },
      head: async (key, options) => {
        this.#guard();
        return memory.head(key, options);
      },
      list: (prefix, options) => memory.list(prefix, options),
      delete: async (key, options) => {
        this.#guard();
        return memory.delete(key, options);
      },
      close: () => memory.close(),
    };
  }

  #guard(): void {
    if (this.dead) throw new StorageError('exists', 'somebody else is here');
    if (this.cut) throw new StorageError('unavailable', 'the store is away');
  }
}

export class JournalBed {
  readonly memory = createMemoryStore();
  readonly rng: Rng;
  disk = new MemoryJournalDisk();
  link: Link;
  /** Of the processes that are opened from here on. */
  clock: Clock = systemClock;
  /** What the puts of the process that runs wait for. */
  onPut: (key: string) => void | Promise<void> = () => {};

  private constructor(seed: number) {
    this.rng = createSeededRng(seed);
    this.link = this.#createLink();
  }

  static async create(seed: number): Promise<JournalBed> {
    const bed = new JournalBed(seed);
    const components = { store: bed.memory, rng: bed.rng, clock: systemClock };
    await initStore(components, INIT_OPTIONS);
    return bed;
  }

  #createLink(): Link {
    return new Link(this.memory, (key) => this.onPut(key));
  }

  /** A server with a journal that fails when its disk does, unless told otherwise. */
  open(
    journal: Partial<DatabaseSettings['journal']> = {},
    settings: Partial<DatabaseSettings> = {},
  ): Promise<Database> {
    return openDatabase(
      {
        store: this.link.store,
        sealer: createInlineSealer(),
        clock: this.clock,
        rng: this.rng,
        log: silentLog,
        journalDisk: this.disk,
      },
      { passphrase: PASSPHRASE, ...TINY, ...settings, journal: { ...OPTIONS, ...journal } },
    );
  }

  /**
   * The machine loses power: the process is gone, and of what was not synced `rng` says which
   * sectors and names are left.
   */
  crash(rng: Rng = this.rng): void {
    this.#end(this.disk.crash(rng));
  }

  /** The process is gone, the machine is not. */
  kill(): void {
    this.#end(this.disk.reopen());
  }

  #end(left: MemoryJournalDisk): void {
    this.link.dead = true;
    this.onPut = () => {};
    this.link = this.#createLink();
    this.disk = left;
  }
}

/** The disk is full for records that are appended. */
export function failAppends(disk: MemoryJournalDisk): void {
  disk.failing = (operation) =>
    operation === 'append' ? new StorageError('noSpace', 'the disk is full') : undefined;
}

export async function expectBlock(db: Database, block: number, seed: number): Promise<void> {
  const found = new Uint8Array(BLOCK);
  await db.read(INODE, block * BLOCK, found);
  assert.ok(Buffer.compare(found, noise(seed, BLOCK)) === 0, `block ${block} is of seed ${seed}`);
}

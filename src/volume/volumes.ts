// The volumes of a branch: names and sizes, kept as one small record each (`volume/<name>`), and
// the handles that servers hold on them. Later these names are the files of the directory /.nbd.
//
// A change is durable when its promise resolves. Changes are made one at a time. Inode numbers
// only go up, also across restores: what anyone once knew by a number is never something else.

import { StorageError } from '../base/errors.ts';
import { Semaphore } from '../base/semaphore.ts';
import { BLOCK_BYTES, type Database } from '../engine/db.ts';
import type { BlockDevice, BlockDeviceDirectory } from './block-device.ts';
import {
  type Entries,
  type Entry,
  FIRST_INODE,
  readEntries,
  saveDirectory,
  saveEntry,
} from './entries.ts';
import { createVolumeHandle } from './volume.ts';

/** Names are file names: no slash, no control character, at most 255 bytes. */
const NAME_BYTES_MAX = 255;
/** 1 PiB: far past what one file of the tree may hold, near enough to catch a slip of a unit. */
const SIZE_BYTES_MAX = 2 ** 50;

export interface VolumeInfo {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
}

export interface VolumeUsage extends VolumeInfo {
  /** Bytes stored for it, before compression. */
  readonly usedBytes: number;
}

export interface Volumes extends BlockDeviceDirectory {
  list(): readonly VolumeInfo[];
  /** `exists`, or `invalid` for a bad name or size. */
  create(name: string, sizeBytes: number): Promise<VolumeInfo>;
  /** Grows at once; shrinking is refused unless forced, since it throws data away. */
  resize(
    name: string,
    sizeBytes: number,
    options: { readonly force: boolean },
  ): Promise<VolumeInfo>;
  /** Refused while a client has it open. */
  remove(name: string): Promise<VolumeInfo>;
  /**
   * All volumes become what the snapshot holds. `notFound`; `invalid` while a client has one open.
   * Meanwhile none can be opened.
   */
  restore(snapshot: string): Promise<void>;
  /** Walks the volume's maps. `notFound`. */
  usage(name: string): Promise<VolumeUsage>;
  /**
   * Reads names and sizes anew, which a follower's writer may have changed. Handles that are open
   * keep what they have.
   */
  reload(): Promise<void>;
}

/**
 * Reads the directory of volumes. `readAheadBytes` bounds what a sequential reader has fetched for
 * it.
 */
export async function openVolumes(
  database: Database,
  settings: { readonly readAheadBytes: number },
): Promise<Volumes> {
  const volumes = new VolumeTable(database, settings.readAheadBytes);
  await volumes.load();
  return volumes;
}

class VolumeTable implements Volumes {
  readonly #database: Database;
  readonly #readAheadBytes: number;
  #entries = new Map<string, Entry>();
  readonly #changing = new Semaphore(1);
  /** The tree may hold other volumes than `#entries`: none is opened or changed. */
  #restoring = false;
  #nextInode = FIRST_INODE;

  constructor(database: Database, readAheadBytes: number) {
    this.#database = database;
    this.#readAheadBytes = readAheadBytes;
  }

  reload(): Promise<void> {
    return this.#alone(() => this.load());
  }

  async load(): Promise<void> {
    const { nextInode, byName } = await readEntries(this.#database, this.#entries);
    this.#entries = byName;
    this.#nextInode = Math.max(this.#nextInode, nextInode);
  }

  list(): readonly VolumeInfo[] {
    return [...this.#entries].map(([name, entry]) => infoOf(name, entry));
  }

  open(name: string): BlockDevice {
    this.#checkSettled();
    const entry = this.#find(name);
    entry.handles += 1;
    return createVolumeHandle({
      ...infoOf(name, entry),
      database: this.#database,
      inode: entry.inode,
      readAheadBytes: this.#readAheadBytes,
      onClose: () => {
        entry.handles -= 1;
      },
    });
  }

  create(name: string, sizeBytes: number): Promise<VolumeInfo> {
    return this.#change(async () => {
      checkName(name);
      checkSize(sizeBytes);
      if (this.#entries.has(name)) throw new StorageError('exists', `volume "${name}" exists`);
      const entry: Entry = { inode: this.#nextInode, sizeBytes, handles: 0 };
      this.#nextInode += 1;
      this.#entries.set(name, entry);
      await this.#save(name);
      return infoOf(name, entry);
    });
  }

  resize(name: string, sizeBytes: number, options: { force: boolean }): Promise<VolumeInfo> {
    return this.#change(async () => {
      checkSize(sizeBytes);
      const entry = this.#find(name);
      const before = entry.sizeBytes;
      if (sizeBytes < before && !options.force) {
        throw new StorageError(
          'invalid',
          `volume "${name}" has ${before} bytes: shrinking it to ${sizeBytes} throws the rest ` +
            'away; say --force if that is meant',
        );
      }
      if (sizeBytes < before && entry.handles > 0) throw inUse(name);
      entry.sizeBytes = sizeBytes;
      if (sizeBytes < before) {
        // What is cut off must not come back when the volume grows again.
        await this.#database.zero(entry.inode, sizeBytes, before - sizeBytes, false);
      }
      await this.#save(name);
      return infoOf(name, entry);
    });
  }

  remove(name: string): Promise<VolumeInfo> {
    return this.#change(async () => {
      const entry = this.#find(name);
      if (entry.handles > 0) throw inUse(name);
      this.#entries.delete(name);
      await this.#database.zero(entry.inode, 0, entry.sizeBytes, false);
      await this.#save(name);
      return infoOf(name, entry);
    });
  }

  restore(snapshot: string): Promise<void> {
    return this.#alone(async () => {
      const open = [...this.#entries].filter(([, { handles }]) => handles > 0);
      if (open.length > 0) throw inUse(...open.map(([name]) => name));
      const again = this.#restoring;
      this.#restoring = true;
      try {
        await this.#database.roots.restore(snapshot);
      } catch (error) {
        // The tree is as it was. An earlier restore may have been cut short behind this point.
        this.#restoring = again;
        throw error;
      }
      // When this fails, the volumes stay closed until a restore succeeds, or a restart.
      await this.load();
      this.#restoring = false;
      await saveDirectory(this.#database, this.#all);
      await this.#database.barrier();
    });
  }

  async usage(name: string): Promise<VolumeUsage> {
    const entry = this.#find(name);
    const usedBytes = await this.#database.usedBytes(entry.inode);
    return { ...infoOf(name, entry), usedBytes };
  }

  #find(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    const known = [...this.#entries.keys()].join(', ') || 'none';
    throw new StorageError('notFound', `there is no volume "${name}"; there is: ${known}`);
  }

  #checkSettled(): void {
    if (!this.#restoring) return;
    const message =
      'the volumes are being restored: try again; if that was cut short, restore again';
    throw new StorageError('unavailable', message);
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    return this.#alone(() => {
      this.#checkSettled();
      return work();
    });
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    await this.#changing.acquire();
    try {
      return await work();
    } finally {
      this.#changing.release();
    }
  }

  get #all(): Entries {
    return { nextInode: this.#nextInode, byName: this.#entries };
  }

  #save(name: string): Promise<void> {
    return saveEntry(this.#database, this.#all, name);
  }
}

function infoOf(name: string, { sizeBytes }: Entry): VolumeInfo {
  return { name, sizeBytes, description: `varve volume ${name}` };
}

function inUse(...names: readonly string[]): StorageError {
  const quoted = names.map((name) => `"${name}"`).join(', ');
  const who = names.length === 1 ? `volume ${quoted} is` : `volumes ${quoted} are`;
  return new StorageError('invalid', `${who} in use: disconnect the clients first`);
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name);
  const ok = bytes > 0 && bytes <= NAME_BYTES_MAX && !/[/\p{Cc}]/u.test(name);
  if (ok && name !== '.' && name !== '..') return;
  throw new StorageError(
    'invalid',
    `"${name}" is no volume name: 1 to ${NAME_BYTES_MAX} bytes without "/" and control characters`,
  );
}

function checkSize(sizeBytes: number): void {
  const ok = Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes <= SIZE_BYTES_MAX;
  if (ok && sizeBytes % BLOCK_BYTES === 0) return;
  throw new StorageError(
    'invalid',
    `${sizeBytes} is no volume size: a multiple of ${BLOCK_BYTES} bytes, at most 1 PiB`,
  );
}

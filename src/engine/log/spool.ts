// Sealed log objects that wait for the store on the local disk, so that their memory is free: the
// journal tier's way through an outage (RFC 0004). Nothing here is synced: the journal holds the
// same changes, and what a crash leaves behind is removed at the next start.
//
// Readers see spooled objects as if the store had them: `withSpool`.

import { assert } from '../../base/assert.ts';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Disk, DiskFile } from '../../cache/disk/disk.ts';
import type { GetResult, ObjectStore } from '../../objectstore/object-store.ts';
import { withGet } from '../../objectstore/with-get.ts';

const SUFFIX = '.spool';

interface Spooled {
  readonly file: DiskFile;
  readonly name: string;
  readonly bytes: number;
}

export interface SpoolSettings {
  readonly directory: string;
  readonly bytesMax: number;
}

export class Spool {
  readonly #disk: Disk;
  readonly #log: Log;
  readonly #settings: SpoolSettings;
  readonly #objects = new Map<string, Spooled>();
  #bytes = 0;
  #serial = 0;
  #failed = false;

  constructor(disk: Disk, log: Log, settings: SpoolSettings) {
    this.#disk = disk;
    this.#log = log;
    this.#settings = settings;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Removes what a crash left behind. */
  async clear(): Promise<void> {
    const { directory } = this.#settings;
    for (const name of await this.#disk.list(directory)) {
      if (name.endsWith(SUFFIX)) await this.#disk.remove(directory, name);
    }
  }

  /** False when it must stay in memory: the spool is full, or its disk refuses. */
  async put(key: string, body: readonly Uint8Array[]): Promise<boolean> {
    const bytes = body.reduce((sum, part) => sum + part.length, 0);
    if (this.#bytes + bytes > this.#settings.bytesMax) return false;
    this.#bytes += bytes;
    const name = `${++this.#serial}${SUFFIX}`;
    try {
      const file = await this.#disk.open(this.#settings.directory, name);
      try {
        await file.truncate(0);
        await file.write(body, 0);
      } catch (error) {
        await file.close().catch(() => {});
        throw error;
      }
      this.#objects.set(key, { file, name, bytes });
      this.#failed = false;
      return true;
    } catch (error) {
      this.#bytes -= bytes;
      if (!this.#failed) this.#log.warn('spool.failed', { error: messageOf(error) });
      this.#failed = true;
      return false;
    }
  }

  has(key: string): boolean {
    return this.#objects.has(key);
  }

  /** Bytes [start, end) of a spooled object. Owned. */
  async read(key: string, start: number, end: number): Promise<Uint8Array> {
    const spooled = this.#objects.get(key);
    assert(spooled !== undefined, 'the object is spooled');
    const bytes = Buffer.allocUnsafeSlow(Math.min(end, spooled.bytes) - start);
    const count = await spooled.file.read(bytes, start);
    if (count < bytes.length) {
      throw new StorageError(
        'corrupt',
        `the spool file of ${key} ends early, after ${count} bytes`,
      );
    }
    return bytes;
  }

  bytesOf(key: string): number {
    return this.#objects.get(key)!.bytes;
  }

  /** The store has it. Readers under way finish first. */
  remove(key: string): void {
    const spooled = this.#objects.get(key)!;
    this.#objects.delete(key);
    this.#bytes -= spooled.bytes;
    const removing = spooled.file
      .close()
      .then(() => this.#disk.remove(this.#settings.directory, spooled.name));
    removing.catch((error: unknown) => {
      this.#log.warn('spool.removal.failed', { error: messageOf(error) });
    });
  }

  /** Closes its files. What is left is removed at the next start. */
  async close(): Promise<void> {
    for (const { file } of this.#objects.values()) await file.close();
    this.#objects.clear();
  }
}

/** What is spooled is read from there. */
export function withSpool(store: ObjectStore, spool: Spool): ObjectStore {
  return withGet(store, async (key, range, options): Promise<GetResult> => {
    if (!spool.has(key)) return store.get(key, range, options);
    const objectBytes = spool.bytesOf(key);
    const start =
      range === undefined ? 0 : 'suffix' in range ? objectBytes - range.suffix : range.start;
    const end = range !== undefined && 'end' in range ? range.end : objectBytes;
    return { bytes: await spool.read(key, Math.max(0, start), end), objectBytes };
  });
}

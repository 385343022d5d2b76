// A journal's disk in memory, for tests and simulation. It remembers what was synced; a crash keeps
// that, and of the rest whichever sectors the dice say: writes are torn, lost and reordered.

import { assert } from '../../base/assert.ts';
import { StorageError } from '../../base/errors.ts';
import type { Rng } from '../../base/rng.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';

const SECTOR_BYTES = 512;

export type JournalOperation = 'list' | 'open' | 'read' | 'write' | 'append' | 'sync' | 'remove';

interface Content {
  /** What a reader sees. */
  bytes: Uint8Array;
  /** What a crash leaves for certain. */
  durable: Uint8Array;
  /** Ranges that were written since the last sync. */
  dirty: { readonly start: number; readonly end: number }[];
}

export class MemoryJournalDisk implements JournalDisk {
  readonly #files: Map<string, Content>;
  /** Names that a crash leaves. */
  #names = new Map<string, Content>();
  /** Says what an operation fails with. */
  failing: (operation: JournalOperation, name: string) => StorageError | undefined = () =>
    undefined;
  /** Awaited before each operation. */
  gate: (operation: JournalOperation) => Promise<void> = () => Promise.resolve();
  readonly counts = { syncs: 0, appends: 0 };
  #off = false;

  constructor(files = new Map<string, Content>()) {
    this.#files = files;
    this.#names = new Map(files);
  }

  /** The power is gone: what the next process finds. Everything here stops answering. */
  crash(rng: Rng): MemoryJournalDisk {
    this.#off = true;
    const left = new Map<string, Content>();
    const keep = rng.float();
    for (const [name, content] of this.#files) {
      const isNamed = this.#names.get(name) === content;
      if (!isNamed && rng.float() < 0.5) continue;
      const bytes = new Uint8Array(Math.max(content.durable.length, content.bytes.length));
      bytes.set(content.durable);
      for (const { start, end } of content.dirty) {
        for (let at = start; at < end; at += SECTOR_BYTES) {
          if (rng.float() >= keep) continue;
          bytes.set(content.bytes.subarray(at, Math.min(end, at + SECTOR_BYTES)), at);
        }
      }
      left.set(name, { bytes, durable: bytes.slice(), dirty: [] });
    }
    for (const [name, content] of this.#names) {
      // Its removal was not synced.
      if (!this.#files.has(name) && rng.float() < 0.5) {
        const bytes = content.durable.slice();
        left.set(name, { bytes, durable: bytes.slice(), dirty: [] });
      }
    }
    return new MemoryJournalDisk(left);
  }

  /** The process is gone, the machine is not: everything that was written is there. */
  reopen(): MemoryJournalDisk {
    this.#off = true;
    return new MemoryJournalDisk(this.#files);
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.begin('list', directory);
    const prefix = `${directory}/`;
    return [...this.#files.keys()]
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length));
  }

  async open(directory: string, name: string): Promise<JournalFile> {
    const path = `${directory}/${name}`;
    await this.begin('open', path);
    let content = this.#files.get(path);
    if (content === undefined) {
      content = { bytes: new Uint8Array(0), durable: new Uint8Array(0), dirty: [] };
      this.#files.set(path, content);
    }
    return new MemoryJournalFile(this, path, content);
  }

  async remove(directory: string, name: string): Promise<void> {
    await this.begin('remove', name);
    this.#files.delete(`${directory}/${name}`);
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.begin('sync', directory);
    this.#names = new Map(this.#files);
  }

  /** Flips a bit of what is on the disk. */
  damage(match: RegExp, at: number): void {
    const path = [...this.#files.keys()].find((one) => match.test(one));
    assert(path !== undefined, 'there is such a file');
    const content = this.#files.get(path)!;
    content.bytes[at]! ^= 1;
    content.durable[at]! ^= 1;
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  async begin(operation: JournalOperation, name: string): Promise<void> {
    await this.gate(operation);
    if (this.#off) throw new StorageError('aborted', 'the machine is off');
    const error = this.failing(operation, name);
    if (error !== undefined) throw error;
  }
}

class MemoryJournalFile implements JournalFile {
  readonly #disk: MemoryJournalDisk;
  readonly #name: string;
  readonly #content: Content;
  #closed = false;

  constructor(disk: MemoryJournalDisk, name: string, content: Content) {
    this.#disk = disk;
    this.#name = name;
    this.#content = content;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    await this.#begin('read');
    const part = this.#content.bytes.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<void> {
    await this.#begin('write');
    let at = position;
    for (const part of parts) {
      this.#put(part, at);
      at += part.length;
    }
  }

  async append(bytes: Uint8Array, position: number, durable: boolean): Promise<void> {
    const failure = await this.#begin('append').then(
      () => undefined,
      (error: unknown) => error,
    );
    // A failed append may have written any part of it.
    if (failure !== undefined) {
      this.#put(bytes.subarray(0, Math.floor(bytes.length / 2)), position);
      throw failure;
    }
    this.#disk.counts.appends += 1;
    this.#put(bytes, position);
    if (durable) await this.sync();
  }

  async sync(): Promise<void> {
    await this.#begin('sync');
    this.#disk.counts.syncs += 1;
    this.#content.durable = this.#content.bytes.slice();
    this.#content.dirty = [];
  }

  async truncate(bytes: number): Promise<void> {
    await this.#begin('write');
    this.#content.bytes = this.#content.bytes.slice(0, bytes);
  }

  async size(): Promise<number> {
    await this.#begin('read');
    return this.#content.bytes.length;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #put(part: Uint8Array, at: number): void {
    const content = this.#content;
    const end = at + part.length;
    if (end > content.bytes.length) {
      const grown = new Uint8Array(end);
      grown.set(content.bytes);
      content.bytes = grown;
    }
    content.bytes.set(part, at);
    content.dirty.push({ start: at, end });
  }

  #begin(operation: JournalOperation): Promise<void> {
    assert(!this.#closed, 'a closed file is left alone');
    return this.#disk.begin(operation, this.#name);
  }
}

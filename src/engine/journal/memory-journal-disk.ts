// A journal's disk in memory, for tests and simulation. It remembers what was synced; a crash keeps
// that, and of the rest whichever sectors the dice say: writes are torn, lost and reordered, files
// that were made or removed since the directory was synced are there or not.
//
// A sync that fails forgets what it was to write: no later one makes that durable. A write that
// fails may have written the first half.

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
  dirty: Range[];
  /** Ranges that a sync failed to write. */
  dropped: Range[];
}

interface Range {
  readonly start: number;
  readonly end: number;
}

export class MemoryJournalDisk implements JournalDisk {
  readonly #files: Map<string, Content>;
  /** Names that a crash leaves. */
  #names = new Map<string, Content>();
  /** Says what an operation fails with. */
  failing: (operation: JournalOperation, name: string) => StorageError | undefined = () =>
    undefined;
  /** Awaited before each operation, and before its result is told. */
  gate: (operation: JournalOperation) => Promise<void> = () => Promise.resolve();
  readonly counts = { syncs: 0, appends: 0 };
  #off = false;

  constructor(files = new Map<string, Content>(), names = files) {
    this.#files = files;
    this.#names = new Map(names);
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
      for (const { start, end } of [...content.dropped, ...content.dirty]) {
        for (let at = start; at < end; at += SECTOR_BYTES) {
          if (rng.float() >= keep) continue;
          bytes.set(content.bytes.subarray(at, Math.min(end, at + SECTOR_BYTES)), at);
        }
      }
      left.set(name, contentOf(bytes));
    }
    for (const [name, content] of this.#names) {
      // Its removal was not synced.
      if (!this.#files.has(name) && rng.float() < 0.5) {
        left.set(name, contentOf(content.durable.slice()));
      }
    }
    return new MemoryJournalDisk(left);
  }

  /** The process is gone, the machine is not: everything that was written is there. */
  reopen(): MemoryJournalDisk {
    this.#off = true;
    return new MemoryJournalDisk(this.#files, this.#names);
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.begin('list', directory);
    const prefix = `${directory}/`;
    const below = [...this.#files.keys()].filter((path) => path.startsWith(prefix));
    return [...new Set(below.map((path) => path.slice(prefix.length).split('/')[0]!))];
  }

  async open(directory: string, name: string): Promise<JournalFile> {
    const path = `${directory}/${name}`;
    await this.begin('open', path);
    let content = this.#files.get(path);
    if (content === undefined) {
      content = contentOf(new Uint8Array(0));
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
    this.throwIfOff();
    const error = this.failing(operation, name);
    if (error !== undefined) throw error;
  }

  throwIfOff(): void {
    if (this.#off) throw new StorageError('aborted', 'the machine is off');
  }
}

function contentOf(bytes: Uint8Array): Content {
  return { bytes, durable: bytes.slice(), dirty: [], dropped: [] };
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
    const failure = await failureOf(this.#begin('write'));
    this.#disk.throwIfOff();
    let at = position;
    for (const part of parts) {
      this.#put(failure === undefined ? part : part.subarray(0, part.length >>> 1), at);
      if (failure !== undefined) throw failure;
      at += part.length;
    }
    await this.#disk.gate('write');
  }

  async append(bytes: Uint8Array, position: number, durable: boolean): Promise<void> {
    const failure = await failureOf(this.#begin('append'));
    this.#disk.throwIfOff();
    this.#put(failure === undefined ? bytes : bytes.subarray(0, bytes.length >>> 1), position);
    if (failure !== undefined) throw failure;
    this.#disk.counts.appends += 1;
    if (durable) await this.sync();
    else await this.#disk.gate('append');
  }

  async sync(): Promise<void> {
    const content = this.#content;
    const failure = await failureOf(this.#begin('sync'));
    this.#disk.throwIfOff();
    const ranges = content.dirty;
    content.dirty = [];
    if (failure !== undefined) {
      content.dropped.push(...ranges);
      throw failure;
    }
    this.#disk.counts.syncs += 1;
    content.durable = grownTo(content.durable, content.bytes.length);
    for (const { start, end } of ranges) {
      content.durable.set(content.bytes.subarray(start, end), start);
    }
    await this.#disk.gate('sync');
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
    content.bytes = grownTo(content.bytes, end);
    content.bytes.set(part, at);
    content.dirty.push({ start: at, end });
  }

  #begin(operation: JournalOperation): Promise<void> {
    assert(!this.#closed, 'a closed file is left alone');
    return this.#disk.begin(operation, this.#name);
  }
}

/** What an operation shall fail with, once its turn has come. */
function failureOf(beginning: Promise<void>): Promise<unknown> {
  return beginning.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function grownTo(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const grown = new Uint8Array(length);
  grown.set(bytes);
  return grown;
}

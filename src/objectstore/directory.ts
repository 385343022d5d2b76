// Objects as files below a root directory, with the atomicity and durability that S3 gives.
//
// Put, in this order:
//   1. make the parent directories and fsync the parent of each (once per directory and process);
//   2. write <root>/.tmp/<random>, a temporary file on the same file system, and fsync it;
//   3. link(2) it to the final name: atomic, and EEXIST when the name is taken, whoever raced;
//   4. fsync the directory of the final name, shared with other puts; unlink the temporary name.
// A crash leaves the whole object or none: the final name never points at an unsynced file.
//
// Invariants:
//   - Before `exists` is answered, and before a listing hands out names, the directory is synced:
//     the name may come from a put that has not reached step 4, and what callers have seen must not
//     vanish in a power cut.
//   - Temporary files older than a day are removed at open: a younger one may belong to a put under
//     way in another process, and no put lasts a day. A removed name whose link was made is
//     harmless.
//   - Directories are never removed. A key cannot continue another (`a` and `a/b`), unlike on S3:
//     `invalid`.

import * as fs from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { errorCode, fileError } from './directory-errors.ts';
import { readFully, writeDurably } from './directory-files.ts';
import { listFiles } from './directory-list.ts';
import { DirectorySync } from './directory-sync.ts';
import { checkKey, LIST_PAGE_KEYS, resolveRange, throwIfAborted } from './keys.ts';
import type {
  ByteRange,
  GetResult,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from './object-store.ts';

const open = promisify(fs.open);
const closeFd = promisify(fs.close);
const fstat = promisify(fs.fstat);
const stat = promisify(fs.stat);
const link = promisify(fs.link);
const unlink = promisify(fs.unlink);
const mkdir = promisify(fs.mkdir);
const readdir = promisify(fs.readdir);

/** The folder of temporary files, below the root. No key may begin with it. */
export const TEMPORARY_FOLDER = '.tmp';

/** Temporary files older than this belong to no put that is still under way. */
export const TEMPORARY_AGE_MAX_MS = 24 * 3600 * 1000;

/** Directories that are remembered as made and synced; past this the memory starts anew. */
const KNOWN_DIRECTORIES_MAX = 4096;

const TEMPORARY_NAME_BYTES = 16;

export interface DirectoryStoreSettings {
  /** Made when it is missing; its parent must exist. */
  readonly root: string;
  readonly rng: Rng;
  readonly clock: Clock;
  /** Keys per page of a listing. */
  readonly pageKeys?: number;
}

/** Opens the store: makes the root and removes what crashed processes left behind. */
export async function createDirectoryStore(settings: DirectoryStoreSettings): Promise<ObjectStore> {
  const store = new DirectoryStore(settings);
  await store.prepare();
  return store;
}

class DirectoryStore implements ObjectStore {
  readonly #root: string;
  readonly #temporary: string;
  readonly #rng: Rng;
  readonly #clock: Clock;
  readonly #pageKeys: number;
  readonly #syncs = new DirectorySync();
  /** Directories that are made and durable, or are being made so. */
  readonly #known = new Map<string, Promise<void>>();

  constructor(settings: DirectoryStoreSettings) {
    this.#root = resolve(settings.root);
    this.#temporary = join(this.#root, TEMPORARY_FOLDER);
    this.#rng = settings.rng;
    this.#clock = settings.clock;
    this.#pageKeys = settings.pageKeys ?? LIST_PAGE_KEYS;
  }

  async prepare(): Promise<void> {
    try {
      await this.#makeDirectory(this.#root);
      await this.#makeDirectory(this.#temporary);
      await this.#removeLeftovers();
    } catch (error) {
      throw fileError(error, `opening the store in ${this.#root}`);
    }
  }

  async putIfAbsent(
    key: string,
    body: readonly Uint8Array[],
    options: RequestOptions,
  ): Promise<void> {
    const path = this.#path(key);
    throwIfAborted(options.signal, `put of ${key}`);
    const name = Buffer.from(this.#rng.bytes(TEMPORARY_NAME_BYTES)).toString('hex');
    const temporary = join(this.#temporary, name);
    try {
      await this.#ensureDirectory(dirname(path));
      try {
        await writeDurably(temporary, body, options.signal);
        await this.#link(temporary, path, key);
      } finally {
        // Best effort: what stays behind is removed at a later open.
        await unlink(temporary).catch(() => {});
      }
      await this.#syncs.sync(dirname(path));
    } catch (error) {
      throw fileError(error, `put of ${key}`);
    }
  }

  async #link(temporary: string, path: string, key: string): Promise<void> {
    try {
      await link(temporary, path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') {
        // Somebody removed a folder that we knew: the next attempt makes it again.
        this.#known.clear();
        throw new StorageError('unavailable', `the folder of ${key} is gone`, { cause: error });
      }
      if (errorCode(error) !== 'EEXIST') throw error;
      if ((await stat(path)).isDirectory()) {
        throw new StorageError('invalid', `${key} is the folder of other objects`);
      }
      await this.#syncs.sync(dirname(path));
      throw new StorageError('exists', `object ${key} exists`);
    }
  }

  async get(
    key: string,
    range: ByteRange | undefined,
    options: RequestOptions,
  ): Promise<GetResult> {
    const path = this.#path(key);
    throwIfAborted(options.signal, `get of ${key}`);
    try {
      const fd = await open(path, 'r');
      try {
        const info = await fstat(fd);
        if (!info.isFile()) throw new StorageError('notFound', `no object ${key}`);
        const { start, end } = resolveRange(key, range, info.size);
        throwIfAborted(options.signal, `get of ${key}`);
        return { bytes: await readFully(fd, start, end, key), objectBytes: info.size };
      } finally {
        await closeFd(fd);
      }
    } catch (error) {
      if (isMissing(error)) throw new StorageError('notFound', `no object ${key}`);
      throw fileError(error, `get of ${key}`);
    }
  }

  async head(key: string, options: RequestOptions): Promise<ObjectInfo | undefined> {
    const path = this.#path(key);
    throwIfAborted(options.signal, `head of ${key}`);
    try {
      const info = await stat(path);
      return info.isFile() ? { key, bytes: info.size } : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw fileError(error, `head of ${key}`);
    }
  }

  list(prefix: string, options: ListOptions): AsyncIterable<readonly ObjectInfo[]> {
    return listFiles({
      root: this.#root,
      hidden: TEMPORARY_FOLDER,
      prefix,
      pageKeys: this.#pageKeys,
      options,
      syncDirectory: (directory) => this.#syncs.sync(directory),
    });
  }

  async delete(key: string, options: RequestOptions): Promise<void> {
    const path = this.#path(key);
    throwIfAborted(options.signal, `delete of ${key}`);
    try {
      await unlink(path);
    } catch (error) {
      if (!isMissing(error)) throw fileError(error, `delete of ${key}`);
    }
    try {
      // Also when the file was gone: the unlink before ours may not be on disk yet.
      await this.#syncs.sync(dirname(path));
    } catch (error) {
      if (!isMissing(error)) throw fileError(error, `delete of ${key}`);
    }
  }

  async close(): Promise<void> {}

  #path(key: string): string {
    checkKey(key);
    if (key === TEMPORARY_FOLDER || key.startsWith(`${TEMPORARY_FOLDER}/`)) {
      throw new StorageError('invalid', `keys in ${TEMPORARY_FOLDER} are reserved: ${key}`);
    }
    return join(this.#root, key);
  }

  /** Makes `directory` and its parents up to the root, durably, once. */
  #ensureDirectory(directory: string): Promise<void> {
    if (directory === this.#root) return Promise.resolve();
    const known = this.#known.get(directory);
    if (known !== undefined) return known;
    if (this.#known.size >= KNOWN_DIRECTORIES_MAX) this.#known.clear();
    const made = this.#ensureDirectory(dirname(directory)).then(() =>
      this.#makeDirectory(directory),
    );
    this.#known.set(directory, made);
    // What failed is tried anew by the next put; this put reports the failure.
    made.catch(() => this.#known.delete(directory));
    return made;
  }

  async #makeDirectory(directory: string): Promise<void> {
    try {
      await mkdir(directory);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      if (!(await stat(directory)).isDirectory()) {
        throw new StorageError('invalid', `${directory} is a file where a folder is needed`);
      }
    }
    // Also when it existed: whoever made it may not have synced its name.
    await this.#syncs.sync(dirname(directory));
  }

  async #removeLeftovers(): Promise<void> {
    const oldest = this.#clock.unixMs() - TEMPORARY_AGE_MAX_MS;
    for (const name of await readdir(this.#temporary)) {
      const path = join(this.#temporary, name);
      try {
        if ((await stat(path)).mtimeMs < oldest) await unlink(path);
      } catch (error) {
        // Another process may have been faster.
        if (!isMissing(error)) throw error;
      }
    }
  }
}

function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

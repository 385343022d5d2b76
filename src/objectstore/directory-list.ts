// The keys below a directory, in byte order, one directory at a time.
//
// Byte order of keys is not the order of names: a folder `a` holds keys `a/…`, and `a-b` sorts
// before them as '-' < '/'. So entries are sorted by name, folders with a '/' behind theirs.
// Folders that cannot hold a key with the prefix, or after `startAfter`, are not opened. Memory is
// bounded by the largest single folder, whose names must be held to be sorted.

import * as fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorCode, fileError } from './directory-errors.ts';
import { checkListPrefix, throwIfAborted } from './keys.ts';
import type { ListOptions, ObjectInfo } from './object-store.ts';

const readdir = promisify(fs.readdir);
const stat = promisify(fs.stat);

/** Files whose sizes are asked for at once: keeps the thread pool busy, no more. */
const STATS_AT_ONCE = 16;

export interface Listing {
  readonly root: string;
  /** A name in the root that is not shown. */
  readonly hidden: string;
  readonly prefix: string;
  readonly pageKeys: number;
  readonly options: ListOptions;
  /** Makes the names in a directory durable. */
  readonly syncDirectory: (directory: string) => Promise<void>;
}

/** Pages of up to `pageKeys` objects; at least one page, which may be empty. */
export async function* listFiles(listing: Listing): AsyncGenerator<readonly ObjectInfo[]> {
  checkListPrefix(listing.prefix);
  let keys: string[] = [];
  let pages = 0;
  try {
    const slash = listing.prefix.lastIndexOf('/');
    for await (const key of walk(listing, listing.prefix.slice(0, slash + 1))) {
      // A full page goes out only when a key follows it, so that no empty page ends the listing.
      if (keys.length === listing.pageKeys) {
        yield await withSizes(listing, keys);
        pages += 1;
        keys = [];
      }
      keys.push(key);
    }
    if (keys.length > 0 || pages === 0) yield await withSizes(listing, keys);
  } catch (error) {
    throw fileError(error, `list of ${listing.prefix}`);
  }
}

/** All wanted keys in `folder`, which is empty or ends in '/'. */
async function* walk(listing: Listing, folder: string): AsyncGenerator<string> {
  for (const name of await wantedNames(listing, folder)) {
    throwIfAborted(listing.options.signal, `list of ${listing.prefix}`);
    if (name.endsWith('/')) yield* walk(listing, folder + name);
    else yield folder + name;
  }
}

/**
 * Names in `folder` that are wanted or may hold what is wanted, in key order, folders with a '/'
 * behind.
 */
async function wantedNames(listing: Listing, folder: string): Promise<readonly string[]> {
  throwIfAborted(listing.options.signal, `list of ${listing.prefix}`);
  const directory = join(listing.root, folder);
  const entries = await namesIn(directory);
  const names: string[] = [];
  for (const entry of entries) {
    const name = entry.isDirectory() ? `${entry.name}/` : entry.name;
    if (folder === '' && entry.name === listing.hidden) continue;
    if (
      entry.isDirectory() ? mayHoldWanted(listing, folder + name) : isWanted(listing, folder + name)
    ) {
      names.push(name);
    }
  }
  // A name may be there whose put has not synced it yet: what is listed must not vanish in a power
  // cut.
  if (names.length > 0) await listing.syncDirectory(directory);
  return names.sort(compareNames);
}

async function namesIn(directory: string): Promise<readonly fs.Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

function isWanted(listing: Listing, key: string): boolean {
  const { startAfter } = listing.options;
  return key.startsWith(listing.prefix) && (startAfter === undefined || key > startAfter);
}

function mayHoldWanted(listing: Listing, folder: string): boolean {
  const { prefix, options } = listing;
  if (!folder.startsWith(prefix) && !prefix.startsWith(folder)) return false;
  const { startAfter } = options;
  // When `startAfter` is past the folder and not in it, it is past all that the folder holds.
  return startAfter === undefined || folder > startAfter || startAfter.startsWith(folder);
}

async function withSizes(
  listing: Listing,
  keys: readonly string[],
): Promise<readonly ObjectInfo[]> {
  const page: ObjectInfo[] = [];
  for (let at = 0; at < keys.length; at += STATS_AT_ONCE) {
    throwIfAborted(listing.options.signal, `list of ${listing.prefix}`);
    const some = keys.slice(at, at + STATS_AT_ONCE);
    const sizes = await Promise.all(some.map((key) => sizeOf(join(listing.root, key))));
    for (const [i, key] of some.entries()) {
      const bytes = sizes[i];
      if (bytes !== undefined) page.push({ key, bytes });
    }
  }
  return page;
}

/** Undefined when the file was deleted since its name was read. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function compareNames(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

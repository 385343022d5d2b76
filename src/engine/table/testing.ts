// What the tests and benchmarks of this folder and of compaction share: a table in a memory store,
// keys and values that look like the engine's, small settings under which everything happens often.

import type { Clock } from '../../base/clock.ts';
import { compareBytes, writeSortable } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import type { Rng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import type { MemoryStore } from '../../objectstore/memory.ts';
import type { ByteRange, ObjectStore } from '../../objectstore/object-store.ts';
import { BlockCache } from './block-cache.ts';
import { createTableBuilder } from './builder.ts';
import type { Cursor, Entry } from './cursor.ts';
import { openTable } from './reader.ts';
import type { Table, TableReaderDeps } from './reader.ts';
import type { RunWriterDeps } from './run-writer.ts';
import type { TableSettings } from './settings.ts';

/** Tiny blocks, batches and pieces, so that a few hundred entries cross every boundary. */
export const TINY_SETTINGS: TableSettings = {
  blockBytes: 128,
  filterBitsPerKey: 10,
  compression: 'lz4',
  sealBytes: 512,
  tableBytes: 2048,
  scanBytes: 400,
  preloadBytes: 1500,
};

export const BIG_CACHE_BYTES = 256 * 1024 * 1024;

/** A request that the store received. */
export interface SeenGet {
  readonly key: string;
  readonly range: ByteRange | undefined;
  readonly cause: string;
}

export interface TestWorld extends TableReaderDeps, RunWriterDeps {
  readonly memory: MemoryStore;
  readonly gets: SeenGet[];
  readonly settings: TableSettings;
  readonly rng: Rng;
}

/** Its time stands still; a turn is a microtask. */
export const frozenClock: Clock = {
  monotonicMs: () => 0,
  unixMs: () => 0,
  sleep: () => Promise.resolve(),
  after: () => () => {},
  yieldTurn: () => Promise.resolve(),
};

export function createTestWorld(
  settings: TableSettings = TINY_SETTINGS,
  cacheBytes: number = BIG_CACHE_BYTES,
): TestWorld {
  const memory = createMemoryStore();
  const gets: SeenGet[] = [];
  const store: ObjectStore = {
    ...memory,
    get(key, range, options) {
      gets.push({ key, range, cause: options.cause });
      return memory.get(key, range, options);
    },
  };
  const dataKey = Uint8Array.from({ length: 32 }, (_, i) => i);
  return {
    memory,
    gets,
    store,
    settings,
    keyring: createKeyring({ dataKey, storeId: 'test-store', cipher: 'chacha20-poly1305' }),
    sealer: createInlineSealer(),
    cache: new BlockCache(cacheBytes),
    rng: createSeededRng(1),
    clock: frozenClock,
  };
}

export function testTableName(id: number): string {
  return `branches/b/tables/${String(id).padStart(16, '0')}`;
}

/** Builds a table of `entries`, puts it into the store and opens it. */
export async function putTable(
  world: TestWorld,
  id: number,
  entries: Iterable<Entry>,
): Promise<Table> {
  const name = testTableName(id);
  const builder = createTableBuilder(world, world.settings, id, name);
  for (const { key, value } of entries) builder.add(key, value);
  const { body, descriptor } = await builder.finish();
  await world.store.putIfAbsent(name, body, { cause: 'flush' });
  return openTable(world, world.settings, descriptor, name);
}

/** A key of the engine's usual shape: kind, inode, chunk. */
export function chunkLikeKey(inode: number, chunk: number): Uint8Array {
  const key = new Uint8Array(12);
  key[0] = 2;
  writeSortable(key, 1, inode, 6);
  writeSortable(key, 7, chunk, 5);
  return key;
}

/** `count` entries with ascending keys at random distances and values of 5 to 100 bytes. */
export function randomEntries(rng: Rng, count: number): Entry[] {
  const entries: Entry[] = [];
  let chunk = 0;
  let inode = 1;
  for (let i = 0; i < count; i++) {
    chunk += 1 + Math.floor(rng.float() * 4);
    if (rng.float() < 0.01) {
      inode += 1;
      chunk = 0;
    }
    const value = rng.bytes(5 + Math.floor(rng.float() * 96));
    entries.push({ key: chunkLikeKey(inode, chunk), value });
  }
  return entries;
}

/** Sorted by key; of equal keys the last one stays. */
export function sortedEntries(entries: readonly Entry[]): Entry[] {
  const sorted = entries.toSorted((a, b) => compareBytes(a.key, b.key));
  return sorted.filter((entry, i) => {
    const next = sorted[i + 1];
    return next === undefined || compareBytes(entry.key, next.key) !== 0;
  });
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Entries as text, for comparison. */
export function entryTexts(entries: Iterable<Entry>): string[] {
  return Array.from(entries, ({ key, value }) => `${hex(key)}=${hex(value)}`);
}

/** Everything a cursor gives, as text. */
export async function drain(cursor: Cursor): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const step = cursor.next();
    if (!(typeof step === 'boolean' ? step : await step)) return texts;
    texts.push(`${hex(cursor.key)}=${hex(cursor.value)}`);
  }
}

/** Expects a StorageError of that kind. A value that is no promise is no error either. */
export async function rejectsWith(work: unknown, kind: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (isStorageError(error) && error.kind === kind) return;
    throw error;
  }
  throw new Error(`expected a failure of kind ${kind}`);
}

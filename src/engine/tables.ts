// The tables of one branch: opening runs, writing new ones, merging old ones. Binds table/ and
// compaction/ to the branch's names, ids and components.

import type { Clock } from '../base/clock.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore, RequestCause } from '../objectstore/object-store.ts';
import { compact } from './compaction/executor.ts';
import { COMPACTION_DEFAULTS, pickCompaction, type CompactionPick } from './compaction/policy.ts';
import { tableName } from './format/names.ts';
import { BlockCache } from './table/block-cache.ts';
import { cursorOf } from './table/cursor.ts';
import { openRun, runBytes, type Run, type SortedRun } from './table/run.ts';
import { writeRun } from './table/run-writer.ts';
import { TABLE_DEFAULTS, type TableSettings } from './table/settings.ts';
import { combineValues } from './tree.ts';

/** A writer's table ids are its epoch × 2^20 + a counter: no two writers ever use the same. */
const IDS_PER_EPOCH = 2 ** 20;

export interface TablesComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly rng: Rng;
  readonly clock: Clock;
}

/** A table that a manifest names and the store has not is damage, not a missing name. */
function loudWhenMissing(store: ObjectStore): ObjectStore {
  return {
    putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options),
    head: (key, options) => store.head(key, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (key, options) => store.delete(key, options),
    close: () => store.close(),
    async get(key, range, options) {
      try {
        return await store.get(key, range, options);
      } catch (error) {
        if (!isStorageError(error, 'notFound')) throw error;
        throw new StorageError('corrupt', `table ${key} is missing from the store`, {
          cause: error,
        });
      }
    },
  };
}

/** Descriptors of a run, for the manifest. */
export function descriptorsOf(run: SortedRun): Run {
  return { tables: run.tables.map((table) => table.descriptor) };
}

export class Tables {
  readonly #deps: TablesComponents & { readonly cache: BlockCache };
  readonly #settings: TableSettings = TABLE_DEFAULTS;
  readonly #branch: string;
  #nextId: number;

  constructor(components: TablesComponents, branch: string, epoch: number, cacheBytes: number) {
    const store = loudWhenMissing(components.store);
    this.#deps = { ...components, store, cache: new BlockCache(cacheBytes) };
    this.#branch = branch;
    this.#nextId = epoch * IDS_PER_EPOCH + 1;
  }

  open(run: Run): SortedRun {
    return openRun(this.#deps, this.#settings, run, ({ id }) => tableName(this.#branch, id));
  }

  /** Writes entries, which come in key order, as a new run; undefined when there are none. */
  async write(
    entries: Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>,
    cause: RequestCause,
    signal: AbortSignal,
  ): Promise<SortedRun | undefined> {
    const run = await writeRun(this.#deps, this.#settings, cursorOf(entries), {
      cause,
      allocateId: this.#allocateId,
      nameOf: this.#nameOf,
      signal,
    });
    return run.tables.length === 0 ? undefined : this.open(run);
  }

  /** Which runs of a list (newest first) to merge next, if any. */
  pick(runs: readonly SortedRun[]): CompactionPick | undefined {
    return pickCompaction(
      runs.map((run) => ({ bytes: runBytes(descriptorsOf(run)) })),
      COMPACTION_DEFAULTS,
    );
  }

  /** Merges neighbours, newest first, into one run; undefined when nothing is left of them. */
  async merge(
    runs: readonly SortedRun[],
    isBottom: boolean,
    signal: AbortSignal,
  ): Promise<SortedRun | undefined> {
    const run = await compact(this.#deps, this.#settings, {
      runs,
      isBottom,
      combine: combineValues,
      allocateId: this.#allocateId,
      nameOf: this.#nameOf,
      signal,
    });
    return run.tables.length === 0 ? undefined : this.open(run);
  }

  /**
   * Brings tables into the cache, newest first, until half of its budget is used: after an open
   * most look-ups need no request of their own.
   */
  async preload(runs: readonly SortedRun[]): Promise<void> {
    let room = this.#deps.cache.budgetBytes / 2;
    for (const table of runs.flatMap((run) => run.tables)) {
      // Decoded blocks are larger than sealed ones; twice is a safe guess for prefix-compressed
      // keys.
      room -= table.descriptor.bytes * 2;
      if (room < 0) return;
      await table.preload({ cause: 'open' });
    }
  }

  /** Replaced tables give their room in the cache back. */
  forget(runs: readonly SortedRun[]): void {
    for (const run of runs) {
      for (const table of run.tables) this.#deps.cache.drop(table.descriptor.id);
    }
  }

  get cacheBytes(): number {
    return this.#deps.cache.bytes;
  }

  readonly #allocateId = (): number => this.#nextId++;

  readonly #nameOf = (id: number): string => tableName(this.#branch, id);
}

// The tables of one branch: opening runs, writing new ones, merging old ones. Binds table/ and
// compaction/ to the branch's names, ids and components.

import type { Clock } from '../base/clock.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore, RequestCause } from '../objectstore/object-store.ts';
import { withGet } from '../objectstore/with-get.ts';
import { compact } from './compaction/executor.ts';
import {
  COMPACTION_DEFAULTS,
  MERGE_ALL_SHARE,
  pickAll,
  pickCompaction,
  type CompactionPick,
} from './compaction/policy.ts';
import { createRunCombine, type DroppedSegment } from './live-counts.ts';
import { IDS_PER_EPOCH, type Lineage } from './manifest/lineage.ts';
import { BlockCache } from './table/block-cache.ts';
import { cursorOf } from './table/cursor.ts';
import { openRun, runBytes, type Run, type SortedRun } from './table/run.ts';
import { writeRun } from './table/run-writer.ts';
import { TABLE_DEFAULTS, type TableSettings } from './table/settings.ts';

export interface TablesComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly rng: Rng;
  readonly clock: Clock;
}

/** A table that a manifest names and the store has not is damage, not a missing name. */
function loudWhenMissing(store: ObjectStore): ObjectStore {
  return withGet(store, async (key, range, options) => {
    try {
      return await store.get(key, range, options);
    } catch (cause) {
      if (!isStorageError(cause, 'notFound')) throw cause;
      throw new StorageError('corrupt', `table ${key} is missing from the store`, { cause });
    }
  });
}

/** Descriptors of a run, for the manifest. */
export function descriptorsOf(run: SortedRun): Run {
  return { tables: run.tables.map((table) => table.descriptor) };
}

export class Tables {
  readonly #deps: TablesComponents & { readonly cache: BlockCache };
  readonly #settings: TableSettings = TABLE_DEFAULTS;
  readonly #lineage: Lineage;
  #nextId: number;
  /** Ids of objects that this process has begun and no manifest names yet: no sweep takes them. */
  readonly unfinished = new Set<number>();

  constructor(components: TablesComponents, lineage: Lineage, epoch: number, cacheBytes: number) {
    const store = loudWhenMissing(components.store);
    this.#deps = { ...components, store, cache: new BlockCache(cacheBytes) };
    this.#lineage = lineage;
    this.#nextId = epoch * IDS_PER_EPOCH + 1;
  }

  open(run: Run): SortedRun {
    return openRun(this.#deps, this.#settings, run, ({ id }) => this.#lineage.tableName(id));
  }

  /** Writes entries, which come in key order, as a new run; undefined when there are none. */
  async write(
    entries: Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>,
    cause: RequestCause,
    signal: AbortSignal,
  ): Promise<SortedRun | undefined> {
    return this.#making((allocateId) =>
      writeRun(this.#deps, this.#settings, cursorOf(entries), {
        cause,
        allocateId,
        nameOf: this.#nameOf,
        signal,
      }),
    );
  }

  /** Which runs of a list (newest first) to merge next, if any. */
  pick(runs: readonly SortedRun[]): CompactionPick | undefined {
    const sizes = runs.map((run) => ({ bytes: runBytes(descriptorsOf(run)) }));
    return pickCompaction(sizes, COMPACTION_DEFAULTS) ?? pickAll(sizes, MERGE_ALL_SHARE);
  }

  /**
   * Merges neighbours, newest first, into one run; undefined when nothing is left of them.
   * `onDropped` hears of segments that the result does not name any more.
   */
  async merge(
    runs: readonly SortedRun[],
    isBottom: boolean,
    signal: AbortSignal,
    onDropped: (dropped: DroppedSegment) => void,
  ): Promise<SortedRun | undefined> {
    return this.#making((allocateId) =>
      compact(this.#deps, this.#settings, {
        runs,
        isBottom,
        combine: createRunCombine(onDropped),
        allocateId,
        nameOf: this.#nameOf,
        signal,
      }),
    );
  }

  /** Tables of a run that came to nothing are no one's: the sweep may take them. */
  async #making(make: (allocateId: () => number) => Promise<Run>): Promise<SortedRun | undefined> {
    const ids: number[] = [];
    try {
      const run = await make(() => {
        const id = this.allocateId();
        ids.push(id);
        return id;
      });
      return run.tables.length === 0 ? undefined : this.open(run);
    } catch (error) {
      this.finished(ids);
      throw error;
    }
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

  /** For a table or a data object: whoever takes one says when it is `finished`. */
  readonly allocateId = (): number => {
    const id = this.#nextId++;
    this.unfinished.add(id);
    return id;
  };

  /** A manifest names the objects, or none ever will: the collector may look after them. */
  finished(ids: Iterable<number>): void {
    for (const id of ids) this.unfinished.delete(id);
  }

  readonly #nameOf = (id: number): string => this.#lineage.tableName(id);
}

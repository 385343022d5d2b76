// The background half of the tree: memtables become tables, tables are merged, manifests say so.
//
//   flush       1. A segment opens, the active memtable is large or its log long: it is frozen.
//               2. When every segment up to there is durable, its entries are written as a new run.
//               3. A manifest names the run and moves the start of replay behind those segments.
//               4. The run takes the frozen memtable's place. No barrier waits for any of this.
//   compaction  After each flush, runs of similar size are merged; a manifest replaces them by the
//               result.
//
// Manifests are published one at a time, each from the state that the last one left. Losing the
// race for a number means that another writer has opened the branch: the engine stops, fenced. A
// store that fails is tried again for as long as it takes; writers wait once the active memtable is
// full too.

import type { Clock } from '../base/clock.ts';
import { asStorageError, isStorageError, messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Semaphore } from '../base/semaphore.ts';
import type { RequestCause } from '../objectstore/object-store.ts';
import type { CommitLog } from './log/commit-log.ts';
import type { Manifest } from './manifest/manifest.ts';
import type { ManifestChain } from './manifest/manifest-chain.ts';
import { memtableEntries } from './memtable/entries.ts';
import type { SortedRun } from './table/run.ts';
import { descriptorsOf, type Tables } from './tables.ts';
import type { Tree } from './tree.ts';

const RETRY_DELAY_MS = 1000;

export interface MaintenanceSettings {
  /** Memory of the active memtable at which it is frozen. */
  readonly memtableBytes: number;
  /** Log objects since the last flush at which it is frozen: bounds replay. */
  readonly logObjectsMax: number;
}

export interface MaintenanceComponents {
  readonly tree: Tree;
  readonly tables: Tables;
  readonly manifests: ManifestChain;
  readonly clock: Clock;
  readonly log: Log;
  readonly onFailed: (error: StorageError) => void;
}

interface Position {
  readonly logNumber: number;
  readonly nextSegment: number;
}

export class Maintenance {
  readonly #c: MaintenanceComponents;
  readonly #settings: MaintenanceSettings;
  readonly #stop = new AbortController();
  readonly #publishing = new Semaphore(1);
  #manifest: Manifest;
  #manifestNumber: number;
  #frozenAt: Position | undefined;
  #flushing: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  readonly counters = { flushes: 0, compactions: 0 };

  constructor(
    components: MaintenanceComponents,
    settings: MaintenanceSettings,
    manifestNumber: number,
    manifest: Manifest,
  ) {
    this.#c = components;
    this.#settings = settings;
    this.#manifestNumber = manifestNumber;
    this.#manifest = manifest;
  }

  /**
   * To be called at every segment boundary, with the position behind it: freezes the active
   * memtable when it is time and none is being flushed.
   */
  atBoundary(log: CommitLog, position: Position): void {
    const { tree } = this.#c;
    if (tree.frozen !== undefined || tree.active.empty || this.#stop.signal.aborted) return;
    const objects = position.logNumber - this.#manifest.logNumber;
    const due =
      tree.active.bytes >= this.#settings.memtableBytes || objects >= this.#settings.logObjectsMax;
    if (due) this.#freeze(log, position);
  }

  #freeze(log: CommitLog, position: Position): void {
    this.#c.tree.freeze();
    this.#frozenAt = position;
    this.#flushing = this.#flush(log).finally(() => {
      this.#flushing = undefined;
    });
  }

  /** What a writer must wait for before the active memtable may grow. */
  room(): Promise<void> | undefined {
    const { tree } = this.#c;
    if (tree.frozen === undefined || tree.active.bytes < this.#settings.memtableBytes)
      return undefined;
    return this.#flushing;
  }

  /** Flushes everything that is durable by now: after a clean stop nothing is left to replay. */
  async flushAll(log: CommitLog): Promise<void> {
    await this.#flushing;
    const { tree } = this.#c;
    // What a flush left frozen, it could not flush: the engine has stopped by itself.
    if (tree.frozen === undefined && !tree.active.empty && !this.#stop.signal.aborted) {
      this.#freeze(log, log.position);
      await this.#flushing;
    }
  }

  /** Resolves when no compaction runs. */
  async settled(): Promise<void> {
    await this.#flushing;
    await this.#compacting;
  }

  /** Stops after the request under way; what was not finished is done again after the next open. */
  async stop(): Promise<void> {
    this.#stop.abort(new StorageError('aborted', 'the engine is stopping'));
    await this.settled();
  }

  /** Never rejects: ends when the memtable is in tables, or when the engine has stopped. */
  async #flush(log: CommitLog): Promise<void> {
    const { tree, tables } = this.#c;
    const { logNumber, nextSegment } = this.#frozenAt!;
    const done = await this.#untilDone('flush', async () => {
      await log.whenDurable(nextSegment - 1);
      const run = await tables.write(memtableEntries(tree.frozen!), 'flush', this.#stop.signal);
      const flushed = (): SortedRun[] => (run === undefined ? [...tree.runs] : [run, ...tree.runs]);
      await this.#publish(
        'flush',
        () => ({
          logNumber,
          logEpoch: this.#manifest.epoch,
          nextSegment,
          runs: flushed().map(descriptorsOf),
        }),
        () => tree.installFlushed(flushed()),
      );
    });
    if (!done) return;
    this.counters.flushes += 1;
    this.#compacting ??= this.#compact().finally(() => {
      this.#compacting = undefined;
    });
  }

  async #compact(): Promise<void> {
    const { tree, tables } = this.#c;
    for (;;) {
      const picked = tables.pick(tree.runs);
      if (picked === undefined || this.#stop.signal.aborted) return;
      const merged = tree.runs.slice(picked.from, picked.to);
      const isBottom = picked.to === tree.runs.length;
      const done = await this.#untilDone('compaction', async () => {
        const result = await tables.merge(merged, isBottom, this.#stop.signal);
        const replaced = (): SortedRun[] => {
          // Flushes put runs in front meanwhile, so the place is found again.
          const at = tree.runs.indexOf(merged[0]!);
          return tree.runs.toSpliced(at, merged.length, ...(result === undefined ? [] : [result]));
        };
        await this.#publish(
          'compaction',
          () => ({ runs: replaced().map(descriptorsOf) }),
          () => tree.installCompacted(replaced()),
        );
        tables.forget(merged);
      });
      if (!done) return;
      this.counters.compactions += 1;
    }
  }

  /**
   * One manifest at a time: `change` is asked in turn, so that it sees what the last one installed;
   * `install` runs once the manifest is durable, before the next one's turn.
   */
  async #publish(
    cause: RequestCause,
    change: () => Partial<Manifest>,
    install: () => void,
  ): Promise<void> {
    await this.#publishing.acquire();
    try {
      const manifest = { ...this.#manifest, ...change() };
      const put = this.#c.manifests.prepare(this.#manifestNumber + 1, manifest);
      // A put that failed may land yet. Until it is known whether it has, nothing else may be
      // offered under its number: finding our own manifest there would look like another writer's.
      while (!(await this.#tryPut(cause, put))) {
        await this.#c.clock.sleep(RETRY_DELAY_MS, this.#stop.signal);
      }
      this.#manifest = manifest;
      this.#manifestNumber += 1;
      install();
    } finally {
      this.#publishing.release();
    }
  }

  /** False when the put shall be tried again. */
  async #tryPut(
    cause: RequestCause,
    put: (cause: RequestCause) => Promise<void>,
  ): Promise<boolean> {
    try {
      await put(cause);
      return true;
    } catch (error) {
      if (this.#stop.signal.aborted || fatalError(cause, error) !== undefined) throw error;
      const fields = { what: cause, error: messageOf(error), retryMs: RETRY_DELAY_MS };
      this.#c.log.warn('manifest.put.failed', fields);
      return false;
    }
  }

  /** Runs `work` until it succeeds. False when the engine stops instead. */
  async #untilDone(what: string, work: () => Promise<void>): Promise<boolean> {
    while (!this.#stop.signal.aborted) {
      try {
        await work();
        return true;
      } catch (error) {
        if (this.#stop.signal.aborted) return false;
        const fatal = fatalError(what, error);
        if (fatal !== undefined) {
          this.#c.onFailed(fatal);
          return false;
        }
        const fields = { what, error: messageOf(error), retryMs: RETRY_DELAY_MS };
        this.#c.log.warn('maintenance.failed', fields);
      }
      await this.#c.clock.sleep(RETRY_DELAY_MS, this.#stop.signal).catch(() => {});
    }
    return false;
  }
}

/** What no retry can mend: a lost race for a manifest, damage, a bug. Undefined for the rest. */
function fatalError(what: string, error: unknown): StorageError | undefined {
  if (!isStorageError(error)) return asStorageError(error, `${what} failed`);
  if (error.kind === 'exists') {
    return new StorageError(
      'fenced',
      `another writer has opened this branch: it published the next manifest (during ${what})`,
      { cause: error },
    );
  }
  return error.kind === 'corrupt' || error.kind === 'fenced' ? error : undefined;
}

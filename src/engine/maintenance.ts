// The background half of the tree: memtables become tables, tables are merged, manifests say so.
//
//   flush       1. A segment opens, the active memtable is large or its log long: it is frozen.
//               2. When every segment up to there is durable, its entries are written as a new run.
//               3. A manifest names the run and moves the start of replay behind those segments.
//               4. The run takes the frozen memtable's place. No barrier waits for any of this.
//   compaction  After each flush, runs of similar size are merged; a manifest replaces them by the
//               result.
//
// What a flush or a merge leaves without a reference goes to the trash (gc/), after its manifest. A
// store that fails is tried again for as long as it takes; writers wait once the active memtable is
// full too.

import type { Clock } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Trash } from './gc/trash.ts';
import type { DroppedSegment } from './live-counts.ts';
import type { CommitLog } from './log/commit-log.ts';
import type { Publisher } from './manifest/publisher.ts';
import { memtableEntries } from './memtable/entries.ts';
import type { SortedRun } from './table/run.ts';
import { descriptorsOf, type Tables } from './tables.ts';
import type { Tree } from './tree.ts';

const RETRY_DELAY_MS = 1000;

export interface MaintenanceSettings {
  /** Memory of the active memtable at which it is frozen, and at which writers wait. */
  readonly memtableBytes: number;
  readonly memtableBytesMax: number;
  /** Log objects since the last flush at which it is frozen: bounds replay. */
  readonly logObjectsMax: number;
  /** Log bytes since the last flush at which it is frozen, at least; see FLUSH_SHARE. */
  readonly logBytesMin: number;
}

/**
 * Log bytes, as a part of what lives, at which the memtable is frozen: what it overwrote counts as
 * alive until it is in tables and merged, so that a small volume that is written over and over
 * would grow for long before its memtable is full.
 */
const FLUSH_SHARE = 0.05;

export interface MaintenanceComponents {
  readonly tree: Tree;
  readonly tables: Tables;
  readonly publisher: Publisher;
  readonly trash: Trash;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Why to stop because of `error`, or undefined to try again. */
  readonly judge: (what: string, error: unknown) => Promise<StorageError | undefined>;
  readonly onFailed: (error: StorageError) => void;
  /** Estimate of what lives in the branch, 0 when it is not known yet. */
  readonly liveBytes: () => number;
  readonly onFlushed: () => void;
  /** After each merge of all runs: what is dead is known then. */
  readonly onMergedAll: () => void;
}

interface Position {
  readonly logNumber: number;
  readonly nextSegment: number;
}

export class Maintenance {
  readonly #c: MaintenanceComponents;
  readonly #settings: MaintenanceSettings;
  #flushing: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  /** Uploaded since the memtable was last frozen. */
  #logBytes = 0;
  /** A merge of everything was asked for. */
  #mergeAll = false;
  readonly counters = { flushes: 0, compactions: 0 };

  constructor(components: MaintenanceComponents, settings: MaintenanceSettings) {
    this.#c = components;
    this.#settings = settings;
  }

  /**
   * To be called at every segment boundary, with the position behind it: freezes the active
   * memtable when it is time and none is being flushed.
   */
  atBoundary(log: CommitLog, position: Position): void {
    const { tree, signal, publisher } = this.#c;
    if (tree.frozen !== undefined || tree.active.empty || signal.aborted) return;
    const objects = position.logNumber - publisher.current.manifest.logNumber;
    const { memtableBytes, logObjectsMax, logBytesMin } = this.#settings;
    const logBytesMax = Math.max(logBytesMin, FLUSH_SHARE * this.#c.liveBytes());
    const due =
      tree.active.bytes >= memtableBytes ||
      objects >= logObjectsMax ||
      this.#logBytes >= logBytesMax;
    // A flush never rejects.
    if (due) void this.#freeze(log, position);
  }

  /** A segment of so many bytes is durable. */
  onUploaded(bytes: number): void {
    this.#logBytes += bytes;
  }

  #freeze(log: CommitLog, position: Position): Promise<void> {
    this.#logBytes = 0;
    this.#c.tree.freeze();
    const flushing = this.#flush(log, position).finally(() => {
      // The frozen memtable is gone before this runs: another may be on its way by now.
      if (this.#flushing === flushing) this.#flushing = undefined;
    });
    this.#flushing = flushing;
    return flushing;
  }

  /** What a writer must wait for before the active memtable may grow. */
  room(): Promise<void> | undefined {
    const { tree } = this.#c;
    if (tree.frozen === undefined || tree.active.bytes < this.#settings.memtableBytesMax)
      return undefined;
    return this.#flushing;
  }

  /**
   * Everything that was changed before the call is in `tree.runs`, and in the current manifest,
   * when it resolves. Rejects when the engine stops instead.
   */
  async flushAll(log: CommitLog): Promise<void> {
    const { tree, signal } = this.#c;
    while (this.#flushing !== undefined) await this.#flushing;
    // What a flush left frozen, it could not flush: the engine has stopped by itself.
    if (tree.frozen === undefined && !signal.aborted) {
      log.cut();
      if (tree.active.empty) return;
      await this.#freeze(log, log.position);
    }
    signal.throwIfAborted();
    log.throwIfFailed();
  }

  /** Merges everything into one run, so that all counts are exact; resolves when that is done. */
  async mergeAll(): Promise<void> {
    await this.#compacting;
    if (this.#c.tree.runs.length < 2) {
      // The counts of a single run are exact as they are.
      this.#c.onMergedAll();
      return;
    }
    this.#mergeAll = true;
    this.#startCompaction();
    await this.#compacting;
  }

  /** Resolves when no flush and no compaction runs. */
  async settled(): Promise<void> {
    await this.#flushing;
    await this.#compacting;
  }

  /** Never rejects: ends when the memtable is in tables, or when the engine has stopped. */
  async #flush(log: CommitLog, { logNumber, nextSegment }: Position): Promise<void> {
    const { tree, tables, publisher, trash, signal } = this.#c;
    const done = await this.#untilDone('flush', async () => {
      await log.whenDurable(nextSegment - 1);
      const frozen = tree.frozen!;
      const dropped: DroppedSegment[] = [];
      const entries = memtableEntries(frozen, (segment) => dropped.push(segment));
      const run = await tables.write(entries, 'flush', signal);
      const flushed = (): SortedRun[] => (run === undefined ? [...tree.runs] : [run, ...tree.runs]);
      await publisher.publish(
        'flush',
        (current) => ({
          logNumber,
          logEpoch: current.epoch,
          nextSegment,
          runs: flushed().map(descriptorsOf),
        }),
        () => {
          tree.installFlushed(flushed());
          if (run !== undefined) tables.finished(run.tables.map((table) => table.descriptor.id));
          trash.addSegments(dropped);
          trash.addCommits(frozen.segments);
          frozen.release();
        },
      );
    });
    if (!done) return;
    this.counters.flushes += 1;
    this.#c.onFlushed();
    this.#startCompaction();
  }

  #startCompaction(): void {
    this.#compacting ??= this.#compact().finally(() => {
      this.#compacting = undefined;
    });
  }

  async #compact(): Promise<void> {
    const { tree, tables, signal } = this.#c;
    for (;;) {
      const all = this.#mergeAll && tree.runs.length > 0;
      this.#mergeAll = false;
      const picked = all ? { from: 0, to: tree.runs.length } : tables.pick(tree.runs);
      if (picked === undefined || signal.aborted) return;
      const merged = tree.runs.slice(picked.from, picked.to);
      const isBottom = picked.to === tree.runs.length;
      if (!(await this.#untilDone('compaction', () => this.#merge(merged, isBottom)))) return;
      this.counters.compactions += 1;
      if (isBottom && picked.from === 0) this.#c.onMergedAll();
    }
  }

  async #merge(merged: readonly SortedRun[], isBottom: boolean): Promise<void> {
    const { tree, tables, publisher, trash, signal } = this.#c;
    const dropped: DroppedSegment[] = [];
    let result: SortedRun | undefined;
    // Flushes put runs in front meanwhile, so the place is found again; a restore may have taken
    // the runs away, and a sweep their tables.
    const place = (): number => tree.runs.indexOf(merged[0]!);
    const replaced = (): SortedRun[] =>
      tree.runs.toSpliced(place(), merged.length, ...(result === undefined ? [] : [result]));
    try {
      result = await tables.merge(merged, isBottom, signal, (one) => dropped.push(one));
      await publisher.publish(
        'compaction',
        () => {
          if (place() < 0) throw new StorageError('aborted', 'the runs were replaced');
          return { runs: replaced().map(descriptorsOf) };
        },
        () => {
          tree.installCompacted(replaced());
          trash.addSegments(dropped);
          trash.addTables(merged);
        },
      );
      tables.forget(merged);
    } catch (error) {
      if (place() >= 0) throw error;
    } finally {
      tables.finished((result?.tables ?? []).map((table) => table.descriptor.id));
    }
  }

  /** Runs `work` until it succeeds. False when the engine stops instead. */
  async #untilDone(what: string, work: () => Promise<void>): Promise<boolean> {
    while (!this.#c.signal.aborted) {
      try {
        await work();
        return true;
      } catch (error) {
        if (this.#c.signal.aborted) return false;
        const fatal = await this.#c.judge(what, error);
        if (fatal !== undefined) {
          this.#c.onFailed(fatal);
          return false;
        }
        const fields = { what, error: messageOf(error), retryMs: RETRY_DELAY_MS };
        this.#c.log.warn('maintenance.failed', fields);
      }
      await this.#c.clock.sleep(RETRY_DELAY_MS, this.#c.signal).catch(() => {});
    }
    return false;
  }
}

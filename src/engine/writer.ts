// The writing half of an open branch: the log, the memtable's way into tables, manifests, and the
// removal of what is dead. A branch that is served read-only has none of it.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Rng } from '../base/rng.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { Admission } from './admission.ts';
import { Collector } from './gc/collector.ts';
import type { Grace } from './gc/grace.ts';
import { Pins } from './gc/pins.ts';
import { Trash } from './gc/trash.ts';
import { lengthsOf } from './format/frame-table.ts';
import { BLOCK_BYTES } from './format/pointer.ts';
import type { Journal } from './journal/journal.ts';
import { JournalTier, type JournalTierSettings } from './journal/journal-tier.ts';
import { CommitLog } from './log/commit-log.ts';
import type { Spool } from './log/spool.ts';
import { Maintenance } from './maintenance.ts';
import type { Lineage } from './manifest/lineage.ts';
import type { ManifestAt, ManifestChain } from './manifest/manifest-chain.ts';
import { Incumbent } from './manifest/incumbent.ts';
import { Publisher } from './manifest/publisher.ts';
import type { ReplayPosition } from './log/replay.ts';
import type { DatabaseSettings } from './settings.ts';
import type { StoreFormat } from './store-root.ts';
import type { Tables } from './tables.ts';
import type { Tree } from './tree.ts';

export interface WriterComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly format: StoreFormat;
  readonly lineage: Lineage;
  readonly manifests: ManifestChain;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly cache: BlockCache;
  readonly diskCache?: DiskCache | undefined;
  readonly grace: Grace;
  readonly spool?: Spool | undefined;
}

export interface WriterStart {
  readonly root: ManifestAt;
  readonly position: ReplayPosition;
  readonly epoch: number;
}

/** With a journal, of the memtable's size: writers outlast a store that takes no flush. */
const OUTAGE_MEMTABLES = 4;

function memtableBytesMax({ memtableBytesMax, memtableBytes, journal }: DatabaseSettings): number {
  return memtableBytesMax ?? memtableBytes * (journal?.used === true ? OUTAGE_MEMTABLES : 1);
}

export class Writer {
  readonly epoch: number;
  readonly log: CommitLog;
  readonly maintenance: Maintenance;
  readonly publisher: Publisher;
  readonly incumbent: Incumbent;
  readonly pins: Pins;
  readonly trash: Trash;
  readonly collector: Collector;
  readonly admission: Admission;
  /** Of the journal tier. */
  journal: JournalTier | undefined;
  /** Resolves when the writer has stopped by itself: fenced, or damage that it met. */
  readonly failed: Promise<StorageError>;
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #idleFlushMs: number;
  #cancelIdleFlush: () => void = () => {};
  readonly #onFailed: (error: StorageError) => void;
  #paused: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  constructor(components: WriterComponents, settings: DatabaseSettings, start: WriterStart) {
    const { tree, cache, diskCache, log, lineage, format } = components;
    const failed = Promise.withResolvers<StorageError>();
    this.failed = failed.promise;
    this.epoch = start.epoch;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#idleFlushMs = settings.idleFlushMs;
    const { signal } = this.#stop;
    let stopped = false;
    const onFailed = (error: StorageError): void => {
      // The log and the background each find out by themselves, and tell each other through here.
      if (stopped) return;
      stopped = true;
      this.#cancelIdleFlush();
      log.error('engine.stopped', { kind: error.kind, error: error.message });
      this.log.fail(error);
      this.#stop.abort(error);
      failed.resolve(error);
    };
    this.#onFailed = onFailed;
    this.publisher = new Publisher(
      { ...components, signal, onReplaced: (number) => this.#onReplaced(number) },
      start.root,
    );
    const { publisher } = this;
    this.incumbent = new Incumbent({ ...components, publisher, onFailed }, start.epoch);
    const judge = (what: string, error: unknown): Promise<StorageError | undefined> =>
      this.incumbent.judge(what, error);
    this.pins = new Pins({ ...components, publisher, signal });
    this.trash = new Trash({ ...components, pins: this.pins, signal });
    this.maintenance = new Maintenance(
      {
        ...components,
        publisher,
        trash: this.trash,
        signal,
        judge,
        onFailed,
        liveBytes: () => this.collector.space?.liveBytes ?? 0,
        onFlushed: () => this.collector.onFlushed(),
        onMergedAll: () => this.collector.onMergedAll(),
      },
      { ...settings, memtableBytesMax: memtableBytesMax(settings) },
    );
    this.log = new CommitLog(
      components,
      { ...settings, cipher: format.cipher, compression: format.compression },
      {
        memtable: () => {
          this.maintenance.atBoundary(this.log, this.log.position);
          return tree.active;
        },
        onClosed: (segment, first, count) => {
          const { plain } = segment.arena;
          cache.insertRun(segment.id, first, count, plain, first * BLOCK_BYTES);
        },
        onReadable: (segment, table) => {
          if (segment.relocated !== undefined) return;
          segment.memtable.putSegment(segment.id, table);
          const { salt, offsets } = table;
          const sealed = segment.arena.sealed.subarray(0, offsets.at(-1));
          diskCache?.insert(salt, 0, lengthsOf(offsets), sealed);
        },
        onDurable: (segment, table) => {
          this.#flushWhenIdle();
          if (segment.relocated === undefined) {
            this.maintenance.onUploaded(table.offsets.at(-1)!);
          }
        },
        onFailed,
      },
      {
        branch: lineage.own,
        epoch: start.epoch,
        logNumber: start.position.logNumber,
        nextSegment: start.position.nextSegment,
      },
    );
    this.collector = new Collector(
      {
        ...components,
        maintenance: this.maintenance,
        publisher,
        pins: this.pins,
        trash: this.trash,
        commitLog: this.log,
        epoch: start.epoch,
        signal,
        judge,
        onFailed,
      },
      settings,
    );
    this.admission = new Admission(this.log, {
      room: () => this.#paused?.over ?? this.maintenance.room() ?? this.collector.credit.room(),
      admitted: (blocks) => {
        this.collector.onWritten(blocks * BLOCK_BYTES);
        this.log.changed();
      },
    });
  }

  /** A manifest that was replaced is no one's, unless it is kept. */
  #onReplaced(number: number): void {
    const { manifest } = this.publisher.current;
    const kept = manifest.claims.includes(number) || Pins.numbersOf(manifest).has(number);
    if (!kept) this.trash.add([{ kind: 'manifest', id: number, bytes: 0 }]);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Stops the engine for good. */
  fail(error: StorageError): void {
    this.#onFailed(error);
  }

  /** From here on barriers wait for `journal`, which has a slot. The store has everything. */
  async startJournal(journal: Journal, settings: JournalTierSettings): Promise<void> {
    const { log } = this;
    const components = { clock: this.#clock, log: this.#log, commitLog: log };
    const tier = new JournalTier(components, settings, journal);
    await tier.begin();
    await this.incumbent.publish(
      () => ({ journal: tier.name }),
      () => {},
    );
    this.journal = tier;
    log.useJournal(tier);
  }

  /**
   * To be called once the store holds all that the journal acknowledged, and nothing new is
   * acknowledged: from here on the manifest names no journal, so that a process that has not got it
   * may write the branch.
   */
  async endJournal(): Promise<void> {
    if (this.publisher.current.manifest.journal === undefined) return;
    await this.incumbent.publish(
      () => ({ journal: undefined }),
      () => {},
    );
  }

  /** What a quiet server overwrote or trimmed comes back without waiting for the next writes. */
  #flushWhenIdle(): void {
    this.#cancelIdleFlush();
    this.#cancelIdleFlush = this.#clock.after(this.#idleFlushMs, () => {
      if (this.#paused !== undefined || this.signal.aborted) return;
      // A failure is met again, and told, by whoever flushes next.
      this.flushAll().catch(() => {});
    });
  }

  /** Everything that was changed before the call is in tables, and a manifest says so. */
  flushAll(): Promise<void> {
    return this.maintenance.flushAll(this.log);
  }

  /** Runs `work` while no one may change anything. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    while (this.#paused !== undefined) await this.#paused.over;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#paused = { over: promise, end: resolve };
    try {
      await this.collector.paused();
      return await work();
    } finally {
      this.#paused = undefined;
      resolve();
      this.collector.resume();
    }
  }

  /** Resolves when nothing is under way in the background. */
  async settled(): Promise<void> {
    await this.maintenance.settled();
    await this.collector.settled();
    await this.maintenance.settled();
    await this.trash.drained();
  }

  /**
   * Makes everything durable, leaves nothing to replay, stops. Rejects when the store gives up, and
   * when the writer had stopped by itself.
   */
  async close(): Promise<void> {
    this.#cancelIdleFlush();
    let isEmpty = false;
    try {
      // A log that has stopped refuses the barrier: what it did not make durable is not passed
      // over.
      await this.log.storeBarrier();
      await this.flushAll();
      this.log.throwIfFailed();
      await this.journal?.markStored();
      await this.endJournal();
      isEmpty = true;
    } finally {
      this.#stop.abort(new StorageError('aborted', 'the engine is stopping'));
      this.trash.stop();
      const stopped = Promise.all([this.maintenance.settled(), this.collector.settled()]);
      this.log.stop();
      await stopped;
      await this.trash.drained();
      await this.journal?.close(isEmpty);
    }
  }
}

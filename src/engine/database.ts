// An open branch: reads, and changes unless it is served read-only. See db.ts, the engine's door.

import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { asStorageError, StorageError } from '../base/errors.ts';
import type { Maybe } from '../base/maybe.ts';
import { BlockCache } from '../cache/block-cache.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import type { DatabaseComponents, Opened } from './components.ts';
import { extentsFromMemory, extentsOf, usedBytesOf, type FileExtent } from './extents.ts';
import { FileEraser } from './file-eraser.ts';
import { FileReader } from './file-reader.ts';
import { FileWriter } from './file-writer.ts';
import { HOLE, ZERO } from './format/pointer.ts';
import type { Follower } from './follow/follower.ts';
import { FrameReader } from './frame-reader.ts';
import type { CollectProgress, CollectReport } from './gc/collector.ts';
import type { LocalJournal } from './journal/local-journal.ts';
import type { Segment } from './log/segment.ts';
import { withSpool } from './log/spool.ts';
import { readOnlyError } from './recovery.ts';
import { ReadGuard } from './read-guard.ts';
import { Roots } from './roots.ts';
import type { DatabaseSettings } from './settings.ts';
import { type DatabaseStatus, statusOf } from './status.ts';
import type { Tables } from './tables.ts';
import type { Tree } from './tree.ts';
import { Writer } from './writer.ts';

export class Database {
  readonly readOnly: boolean;
  /**
   * Resolves when the engine has stopped by itself: fenced, or damage that it met while writing or
   * following.
   */
  readonly failed: Promise<StorageError>;
  readonly #clock: Clock;
  readonly #branchName: string;
  readonly #epoch: number;
  readonly #tree: Tree;
  readonly #cache: BlockCache;
  readonly #diskCache: DiskCache | undefined;
  readonly #guard: ReadGuard;
  readonly #reader: FileReader;
  /** Undefined when the branch is served read-only. */
  readonly #writer: Writer | undefined;
  readonly #files: { readonly writer: FileWriter; readonly eraser: FileEraser } | undefined;
  readonly #roots: Roots | undefined;
  readonly #follower: Follower | undefined;
  readonly #local: LocalJournal | undefined;
  #acknowledged: number;
  #closed = false;

  constructor(components: DatabaseComponents, settings: DatabaseSettings, opened: Opened) {
    const { tree, recovered, grace, follower } = opened;
    this.readOnly = settings.readOnly;
    this.#clock = components.clock;
    this.#branchName = settings.branch;
    this.#epoch = recovered.epoch;
    this.#tree = tree;
    this.#follower = follower;
    const cache = openBlockCache(settings, tree, opened.tables);
    this.#cache = cache;
    this.#diskCache = components.diskCache;
    const { local } = opened;
    this.#local = local;
    const spool = local?.spool;
    const store = spool === undefined ? opened.store : withSpool(opened.store, spool);
    const shared = { ...components, ...opened, store, cache, spool };
    const writer = settings.readOnly ? undefined : new Writer(shared, settings, recovered);
    this.#writer = writer;
    const guard = new ReadGuard({ grace, incumbent: writer?.incumbent, follower });
    this.#guard = guard;
    this.failed = writer?.failed ?? follower?.failed ?? new Promise(() => {});
    this.#acknowledged = recovered.position.nextSegment - 1;
    const frames = new FrameReader(shared);
    this.#reader = new FileReader({
      tree,
      cache,
      frames,
      resident: writer?.log.resident ?? new Map<number, Segment>(),
    });
    if (writer === undefined) return;
    const newJournal = local && (() => local.create(writer.epoch));
    this.#roots = new Roots({ ...shared, writer, newJournal });
    const { admission } = writer;
    const files = new FileWriter({
      tree,
      admission,
      cache,
      hold: (reading) => guard.hold(reading),
      reader: this.#reader,
      frames,
      segmentBlocks: writer.log.blocksMax,
    });
    const eraser = new FileEraser({ tree, cache, grace, admission, writer: files });
    this.#files = { writer: files, eraser };
  }

  /** Takes up the local journal, before anything else is asked of a writer. */
  async begin(): Promise<void> {
    const local = this.#local;
    const writer = this.#writer;
    const files = this.#files?.writer;
    if (local === undefined || writer === undefined || files === undefined) return;
    try {
      const { journal } = writer.publisher.current.manifest;
      const applied = await local.takeUp(journal, (name) => this.meta(name), files);
      if (applied > 0) await writer.log.storeBarrier();
      await local.markTaken();
      const fresh = local.options.used ? await local.create(writer.epoch) : undefined;
      if (fresh === undefined) await writer.endJournal();
      else await writer.startJournal(fresh, local.options);
      await local.removeFound(fresh);
      this.#acknowledged = writer.log.durableSegment;
    } catch (error) {
      writer.fail(asStorageError(error, 'taking up the journal'));
      await this.close().catch(() => {});
      throw error;
    }
  }

  /** Snapshots, branches, restoring. */
  get roots(): Roots {
    if (this.#roots === undefined) throw readOnlyError();
    return this.#roots;
  }

  /** Frees what is dead, now. */
  async collect(onProgress: CollectProgress): Promise<CollectReport> {
    const writer = this.#writable();
    await this.roots.reap();
    return writer.incumbent.unlessDeposed(writer.collector.collect(onProgress));
  }

  /** Fills `target` from byte `offset`. Borrowed until the call settles. */
  read(inode: number, offset: number, target: Uint8Array): Maybe<void> {
    const reading = this.#reader.read(inode, offset, target);
    return reading instanceof Promise
      ? this.#readSlowly(reading, inode, offset, target)
      : undefined;
  }

  /** Apart, so that a read from memory allocates no closure. */
  #readSlowly(
    reading: Promise<void>,
    inode: number,
    offset: number,
    target: Uint8Array,
  ): Promise<void> {
    return this.#guard.hold(reading, () => this.#reader.read(inode, offset, target));
  }

  /**
   * Stores `source` at byte `offset`. Borrowed until the call settles. Durable after the next
   * barrier.
   */
  write(inode: number, offset: number, source: Uint8Array): Maybe<void> {
    if (this.#files === undefined) throw readOnlyError();
    return this.#files.writer.write(inode, offset, source);
  }

  /** The range reads as zeroes; `allocated` says whether it is reported as a hole. */
  zero(inode: number, offset: number, lengthBytes: number, allocated: boolean): Promise<void> {
    if (this.#files === undefined) throw readOnlyError();
    return this.#files.eraser.zero(inode, offset, lengthBytes, allocated ? ZERO : HOLE);
  }

  /** At most `max` extents that cover a prefix of the range. */
  extents(
    inode: number,
    offset: number,
    lengthBytes: number,
    max: number,
  ): Maybe<readonly FileExtent[]> {
    const known = extentsFromMemory(this.#tree, inode, offset, lengthBytes, max);
    if (known !== undefined) return known;
    const walk = () => extentsOf(this.#tree, this.#reader, inode, offset, lengthBytes, max);
    return this.#guard.hold(walk(), walk);
  }

  /** Bytes of a file that are stored, before compression. Walks the file's maps. */
  usedBytes(inode: number): Promise<number> {
    const walk = () => usedBytesOf(this.#tree, this.#reader, inode);
    return this.#guard.hold(walk(), walk);
  }

  /** Brings `[offset, end)` into the cache. */
  prefetch(inode: number, offset: number, end: number): Promise<void> {
    return this.#guard.hold(this.#reader.prefetch(inode, offset, end));
  }

  /** The value of a named record, or undefined. Owned by the engine: not to be changed. */
  meta(name: string): Promise<Uint8Array | undefined> {
    const look = () => this.#tree.meta(name);
    return this.#guard.hold(look(), look);
  }

  /** Sets a named record; undefined deletes it. Ordered with all other changes. */
  putMeta(name: string, value: Uint8Array | undefined): Promise<void> {
    if (this.#files === undefined) throw readOnlyError();
    return this.#files.writer.putMeta(name, value);
  }

  /**
   * Everything that completed before the call is durable when it settles; nothing is returned when
   * it already is. Rejects when the store gives up; nothing is lost then, and a later barrier may
   * succeed.
   */
  barrier(): Maybe<void> {
    const writer = this.#writer;
    if (writer === undefined) return undefined;
    // The journal, which would answer it, goes.
    if (this.#closed) throw new StorageError('aborted', 'the branch is being closed');
    const waiting = writer.log.barrier();
    if (waiting !== undefined) return this.#acknowledge(waiting, writer);
    this.#acknowledged = writer.log.acknowledgedSegment;
    return undefined;
  }

  async #acknowledge(waiting: Promise<void>, { log }: Writer): Promise<void> {
    await waiting;
    this.#acknowledged = log.acknowledgedSegment;
  }

  /**
   * Changes that wait for memory, or for the collector, fail with `error`; a later one may succeed.
   */
  refuseWaiting(error: StorageError): void {
    this.#writer?.admission.refuseWaiting(error);
  }

  /** As `barrier`, whatever the tier: the store has it. */
  storeBarrier(): Maybe<void> {
    return this.#writer?.log.storeBarrier();
  }

  /** A follower reads on to what the store holds at the time of the call. */
  async refresh(): Promise<void> {
    await this.#follower?.refresh();
  }

  /** Called when a follower finds that named records may have changed; again if it rejects. */
  onRecords(listener: () => Promise<void>): void {
    this.#follower?.onRecords(listener);
  }

  status(): DatabaseStatus {
    return statusOf({
      branch: this.#branchName,
      epoch: this.#epoch,
      acknowledged: this.#acknowledged,
      nowMs: this.#clock.monotonicMs(),
      tree: this.#tree,
      cache: this.#cache,
      diskCache: this.#diskCache,
      writer: this.#writer,
      follower: this.#follower,
    });
  }

  /** Resolves when no flush, no compaction and no collection is under way. */
  async settled(): Promise<void> {
    await this.#writer?.settled();
  }

  /**
   * Makes everything durable, leaves nothing to replay, stops. Rejects when the store gives up, and
   * when the engine had stopped by itself.
   */
  async close(): Promise<void> {
    assert(!this.#closed, 'a database is closed once');
    this.#closed = true;
    await this.#writer?.close();
    await this.#follower?.stop();
  }

  #writable(): Writer {
    if (this.#writer === undefined) throw readOnlyError();
    return this.#writer;
  }
}

function openBlockCache(settings: DatabaseSettings, tree: Tree, tables: Tables): BlockCache {
  const { cacheMemoryBytes: budgetBytes, cacheKeptBytes: keptBytes } = settings;
  if (keptBytes === undefined) return new BlockCache({ budgetBytes });
  const borrowedBytes = (): number => tree.cacheBytes + tables.cacheBytes;
  return new BlockCache({ budgetBytes, shared: { keptBytes, borrowedBytes } });
}

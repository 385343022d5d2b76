// The one public door of the engine: files of 4 KiB blocks and small named records in one branch of
// a store, changed in order, made durable by barriers. ARCHITECTURE.md has the map; the write path
// is file-writer.ts → log/, the read path is file-reader.ts → frame-reader.ts, the tree is tree.ts,
// the background is maintenance.ts.

import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Maybe } from '../base/maybe.ts';
import type { Rng } from '../base/rng.ts';
import { BlockCache } from '../cache/block-cache.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { extentsFromMemory, extentsOf, usedBytesOf, type FileExtent } from './extents.ts';
import { Admission } from './admission.ts';
import { FileEraser } from './file-eraser.ts';
import { FileReader } from './file-reader.ts';
import { FileWriter } from './file-writer.ts';
import { HOLE, ZERO } from './format/pointer.ts';
import { FrameReader } from './frame-reader.ts';
import { CommitLog } from './log/commit-log.ts';
import { Maintenance } from './maintenance.ts';
import { createManifestChain } from './manifest/manifest-chain.ts';
import { readOnlyError, recover } from './recovery.ts';
import { DATABASE_DEFAULTS, type DatabaseSettings } from './settings.ts';
import type { DatabaseStatus } from './status.ts';
import { findBranch, openRoot, type StoreRoot } from './store-root.ts';
import { Tables } from './tables.ts';
import { Tree } from './tree.ts';

export { BLOCK_BYTES } from './format/pointer.ts';
export { initStore, MAIN_BRANCH, openRoot, type StoreRoot } from './store-root.ts';
export { DATABASE_DEFAULTS, type DatabaseSettings } from './settings.ts';
export type { FileExtent } from './extents.ts';
export type { DatabaseStatus } from './status.ts';

export interface DatabaseComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** The store's root, if it is open already: the passphrase is then not tried again. */
  readonly root?: StoreRoot;
}

/** Opens a branch. Writers fence their predecessor; see recovery.ts. */
export async function openDatabase(
  components: DatabaseComponents,
  settings: Pick<DatabaseSettings, 'passphrase'> & Partial<DatabaseSettings>,
): Promise<Database> {
  const full: DatabaseSettings = { ...DATABASE_DEFAULTS, ...settings };
  const { store, rng, log } = components;
  const root = components.root ?? (await openRoot(store, full.passphrase, 'open'));
  const { format, keyring } = root;
  const branch = await findBranch(store, keyring, full.branch);
  const manifests = createManifestChain(store, keyring, rng, branch);
  const tree = new Tree(full.mapCacheBytes, full.frameTableCacheBytes);
  const recovered = await recover(
    { store, keyring, rng, log, manifests },
    {
      branch,
      readOnly: full.readOnly,
      cipher: format.cipher,
      memtable: tree.active,
      onProgress: full.onProgress,
    },
  );
  const tableComponents = { ...components, keyring };
  const tables = new Tables(tableComponents, branch, recovered.epoch, full.tableCacheBytes);
  tree.runs = recovered.root.manifest.runs.map((run) => tables.open(run));
  await tables.preload(tree.runs);
  return new Database(components, full, {
    format,
    keyring,
    branch,
    manifests,
    tree,
    tables,
    recovered,
  });
}

interface Opened {
  readonly format: Awaited<ReturnType<typeof openRoot>>['format'];
  readonly keyring: Awaited<ReturnType<typeof openRoot>>['keyring'];
  readonly branch: string;
  readonly manifests: ReturnType<typeof createManifestChain>;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly recovered: Awaited<ReturnType<typeof recover>>;
}

export class Database {
  readonly readOnly: boolean;
  /**
   * Resolves when the engine has stopped by itself: fenced, or damage that it met while writing.
   */
  readonly failed: Promise<StorageError>;
  readonly #clock: Clock;
  readonly #branchName: string;
  readonly #epoch: number;
  readonly #tree: Tree;
  readonly #cache: BlockCache;
  readonly #log: CommitLog;
  readonly #maintenance: Maintenance;
  readonly #reader: FileReader;
  readonly #writer: FileWriter;
  readonly #eraser: FileEraser;
  #acknowledged: number;
  #closed = false;

  constructor(components: DatabaseComponents, settings: DatabaseSettings, opened: Opened) {
    const { tree, tables, manifests, recovered, keyring, branch, format } = opened;
    const { store, clock, log } = components;
    const failed = Promise.withResolvers<StorageError>();
    this.failed = failed.promise;
    let stopped = false;
    const stop = (error: StorageError): void => {
      // The log and the maintenance each find out by themselves, and tell each other through here.
      if (stopped) return;
      stopped = true;
      log.error('engine.stopped', { kind: error.kind, error: error.message });
      this.#log.fail(error);
      failed.resolve(error);
    };
    this.readOnly = settings.readOnly;
    this.#clock = clock;
    this.#branchName = settings.branch;
    this.#epoch = recovered.epoch;
    this.#tree = tree;
    const cache = new BlockCache({ budgetBytes: settings.cacheMemoryBytes });
    this.#cache = cache;
    this.#maintenance = new Maintenance(
      { tree, tables, manifests, clock, log, onFailed: stop },
      settings,
      recovered.root.number,
      recovered.root.manifest,
    );
    this.#log = new CommitLog(
      { ...components, keyring },
      { ...settings, cipher: format.cipher, compression: format.compression },
      {
        memtable: () => {
          this.#maintenance.atBoundary(this.#log, this.#log.position);
          return tree.active;
        },
        onDurable: (segment, table) => {
          segment.memtable.putSegment(segment.id, table);
          cache.insertRun(segment.id, 0, segment.blocks, segment.arena.plain, 0);
        },
        onFailed: stop,
      },
      {
        branch,
        epoch: recovered.epoch,
        logNumber: recovered.position.logNumber,
        nextSegment: recovered.position.nextSegment,
      },
    );
    this.#acknowledged = this.#log.durableSegment;
    const frames = new FrameReader({ ...components, store, keyring, tree, cache, branch });
    const resident = this.#log.resident;
    this.#reader = new FileReader({ tree, cache, frames, resident });
    const admission = new Admission(this.#log, () => this.#maintenance.room());
    const segmentBlocks = this.#log.blocksMax;
    this.#writer = new FileWriter({
      tree,
      admission,
      cache,
      reader: this.#reader,
      frames,
      segmentBlocks,
    });
    this.#eraser = new FileEraser({ tree, cache, admission, writer: this.#writer });
  }

  /** Fills `target` from byte `offset`. Borrowed until the call settles. */
  read(inode: number, offset: number, target: Uint8Array): Maybe<void> {
    return this.#reader.read(inode, offset, target);
  }

  /**
   * Stores `source` at byte `offset`. Borrowed until the call settles. Durable after the next
   * barrier.
   */
  write(inode: number, offset: number, source: Uint8Array): Maybe<void> {
    this.#checkWritable();
    return this.#writer.write(inode, offset, source);
  }

  /** The range reads as zeroes; `allocated` says whether it is reported as a hole. */
  zero(inode: number, offset: number, lengthBytes: number, allocated: boolean): Promise<void> {
    this.#checkWritable();
    return this.#eraser.zero(inode, offset, lengthBytes, allocated ? ZERO : HOLE);
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
    return extentsOf(this.#tree, this.#reader, inode, offset, lengthBytes, max);
  }

  /** Bytes of a file that are stored, before compression. Walks the file's maps. */
  usedBytes(inode: number): Promise<number> {
    return usedBytesOf(this.#tree, this.#reader, inode);
  }

  /** Brings `[offset, end)` into the cache. */
  prefetch(inode: number, offset: number, end: number): Promise<void> {
    return this.#reader.prefetch(inode, offset, end);
  }

  /** The value of a named record, or undefined. Owned by the engine: not to be changed. */
  meta(name: string): Promise<Uint8Array | undefined> {
    return this.#tree.meta(name);
  }

  /** Sets a named record; undefined deletes it. Ordered with all other changes. */
  putMeta(name: string, value: Uint8Array | undefined): Promise<void> {
    this.#checkWritable();
    return this.#writer.putMeta(name, value);
  }

  /**
   * Everything that completed before the call is durable when it settles; nothing is returned when
   * it already is. Rejects when the store gives up; nothing is lost then, and a later barrier may
   * succeed.
   */
  barrier(): Maybe<void> {
    if (this.readOnly) return undefined;
    const waiting = this.#log.barrier();
    if (waiting !== undefined) return this.#acknowledge(waiting);
    this.#acknowledged = this.#log.durableSegment;
    return undefined;
  }

  async #acknowledge(waiting: Promise<void>): Promise<void> {
    await waiting;
    this.#acknowledged = this.#log.durableSegment;
  }

  status(): DatabaseStatus {
    const lag = this.#log.lag();
    const now = this.#clock.monotonicMs();
    return {
      branch: this.#branchName,
      epoch: this.#epoch,
      durability: 'store',
      acknowledged: this.#acknowledged,
      durable: this.#log.durableSegment,
      lagBytes: lag.bytes,
      lagSeconds: lag.sinceMs === undefined ? 0 : (now - lag.sinceMs) / 1000,
      ...this.#log.counters,
      ...this.#maintenance.counters,
      runs: this.#tree.runs.length,
      cache: { memory: this.#cache.stats() },
    };
  }

  /** Resolves when no flush and no compaction is under way. */
  settled(): Promise<void> {
    return this.#maintenance.settled();
  }

  /**
   * Makes everything durable, leaves nothing to replay, stops. Rejects when the store gives up, and
   * when the engine had stopped by itself.
   */
  async close(): Promise<void> {
    assert(!this.#closed, 'a database is closed once');
    this.#closed = true;
    try {
      // A log that has stopped refuses the barrier: what it did not make durable is not passed
      // over.
      if (!this.readOnly) {
        await this.#log.barrier();
        await this.#maintenance.flushAll(this.#log);
        this.#log.throwIfFailed();
      }
    } finally {
      const stopped = this.#maintenance.stop();
      this.#log.stop();
      await stopped;
    }
  }

  #checkWritable(): void {
    if (this.readOnly) throw readOnlyError();
  }
}

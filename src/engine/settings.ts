// What can be tuned about the engine. Plain data, validated by whoever builds it.

const MIB = 1024 * 1024;

/** How far a branch is, as the store shows it before it is opened. */
export interface FoundBranch {
  readonly storeId: string;
  /** Branch id. */
  readonly branch: string;
  readonly epoch: number;
  /** Number of the newest manifest. */
  readonly manifest: number;
}

export interface JournalOptions {
  /** Of the journals of all branches: each has a folder in it. */
  readonly directory: string;
  /** Barriers wait for the journal; else for the store. */
  readonly used: boolean;
  /** Goes on without the journal that the branch names, whatever it holds. */
  readonly abandon: boolean;
  /** What the bucket may trail by: bytes of journal, and the age of the oldest change. */
  readonly bytesMax: number;
  readonly secondsMax: number;
  /** What a barrier does while the journal's disk fails: wait for the store, or fail. */
  readonly onFailure: 'store' | 'fail';
  /** For people: where the journal lies. */
  readonly host: string;
}

export interface DatabaseSettings {
  readonly passphrase: string;
  readonly branch: string;
  /** Serves what the store holds; fences no one, refuses changes. */
  readonly readOnly: boolean;
  /** Of a server that has a journal directory: what an earlier one left there is taken up. */
  readonly journal?: JournalOptions | undefined;
  /**
   * How often a read-only server reads on, under a lease that keeps what it reaches from being
   * deleted. Without: it serves the state at the time of opening, puts no lease, and may find
   * objects gone when a writer is at work.
   */
  readonly followIntervalMs?: number | undefined;
  /** A snapshot of the branch to serve instead of its head; only with `readOnly`. */
  readonly snapshot?: string | undefined;
  /** Plaintext blocks kept in memory. Segments under way have their own, fixed, limits. */
  readonly cacheMemoryBytes: number;
  /**
   * Of these, those that it keeps however much the three caches below hold: the rest is lent to
   * them. Undefined: they have memory of their own.
   */
  readonly cacheKeptBytes?: number | undefined;
  /**
   * Called before a writer claims an epoch, with what the store shows. What it throws ends the
   * opening before anything has changed.
   */
  readonly onFound?: ((found: FoundBranch) => void) | undefined;
  /** Called during replay with the log objects applied so far and those known. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Plaintext of one log object at most. */
  readonly segmentBytes: number;
  /** Plaintext of one frame: what a cold random read decompresses. */
  readonly frameBytes: number;
  /** Segments in memory, the open one included: bounds unsealed and uploading bytes. */
  readonly arenas: number;
  /** After so long without a barrier the open segment is uploaded anyway. */
  readonly idleCloseMs: number;
  /** Chunks that one segment may change. */
  readonly touchedChunksMax: number;
  /** Memory of the memtable at which it is flushed; twice as much can exist for a while. */
  readonly memtableBytes: number;
  /**
   * Memory of a second one, behind one that is being flushed, at which writers wait. Undefined: the
   * same, and with a journal four times that, since a flush waits for the store.
   */
  readonly memtableBytesMax?: number | undefined;
  /** Log objects since the last flush at which the memtable is flushed: bounds replay. */
  readonly logObjectsMax: number;
  /** Log bytes since the last flush at which it is flushed, at least. */
  readonly logBytesMin: number;
  /** What is in the memtable when nothing was written for so long is flushed. */
  readonly idleFlushMs: number;
  /** Dead bytes, as a part of the live ones, at which the collector begins to work. */
  readonly garbageSoft: number;
  /** The part at which writers wait for it. */
  readonly garbageHard: number;
  /** Small segments, of many barriers, that are left alone. */
  readonly smallSegmentsMax: number;
  /** Whole block maps kept from tables. */
  readonly mapCacheBytes: number;
  /** Frame tables kept from tables. */
  readonly frameTableCacheBytes: number;
  /** Decoded table blocks. */
  readonly tableCacheBytes: number;
}

export const DATABASE_DEFAULTS: Omit<DatabaseSettings, 'passphrase'> = {
  branch: 'main',
  readOnly: false,
  cacheMemoryBytes: 256 * MIB,
  segmentBytes: 8 * MIB,
  frameBytes: 64 * 1024,
  arenas: 5,
  idleCloseMs: 1000,
  touchedChunksMax: 16_384,
  memtableBytes: 8 * MIB,
  logObjectsMax: 4096,
  logBytesMin: 64 * MIB,
  idleFlushMs: 60_000,
  garbageSoft: 0.24,
  garbageHard: 0.3,
  smallSegmentsMax: 4096,
  mapCacheBytes: 24 * MIB,
  frameTableCacheBytes: 8 * MIB,
  tableCacheBytes: 24 * MIB,
};

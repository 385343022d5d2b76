// The disk tier: sealed frames as they lie in the store, by (salt of the object, frame), in slab
// files under a budget. Warm after a restart, whether the process was closed or killed.
//
//   read    index (memory) ─► one pread for frames that lie side by side ─► sums ─► caller
//   insert  copy ─► bounded queue ─► writer (cache-writer.ts) ─► one record per write ─► index
//
// Invariants:
//   1. A read gives the bytes that were inserted, or nothing. Sums are CRC-32, so a chance of 2^-32
//      is left for damaged ones: whoever unseals them finds out, and says so by `forget`.
//   2. No error of the disk reaches a caller: reads miss, inserts are dropped, and after a while
//      the disk is tried again.
//   3. Files never hold more than the budget, the queue never more than its limit.

import { isStorageError, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Breaker, RETRY_MS } from './breaker.ts';
import {
  CacheWriter,
  type CacheWriterStats,
  type DiskCacheComponents,
  type DiskCacheSettings,
} from './cache-writer.ts';
import type { EntryIndex } from './entry-index.ts';
import { copyRuns, planRuns } from './run-reader.ts';
import { saltHigh, saltLow } from './slab-format.ts';

export type { DiskCacheComponents, DiskCacheSettings } from './cache-writer.ts';

/** Reads that fail one after another before the disk is left alone. */
const READ_FAILURES_MAX = 8;

/** Counts are of frames. */
export interface DiskCacheStats extends CacheWriterStats {
  readonly hits: number;
  readonly misses: number;
  /** Found by their sum, or by a read that failed. */
  readonly damaged: number;
  readonly budgetBytes: number;
}

/**
 * Opens the cache and loads what is there. A disk that fails makes an empty one, never an error.
 */
export async function openDiskCache(
  components: DiskCacheComponents,
  settings: DiskCacheSettings,
): Promise<DiskCache> {
  const writer = new CacheWriter(components, settings);
  await writer.start();
  return new DiskCache(components, settings, writer);
}

export class DiskCache {
  readonly #log: Log;
  readonly #settings: DiskCacheSettings;
  readonly #writer: CacheWriter;
  readonly #breaker: Breaker;
  #failures = 0;
  #hits = 0;
  #misses = 0;
  #damaged = 0;

  constructor(components: DiskCacheComponents, settings: DiskCacheSettings, writer: CacheWriter) {
    this.#log = components.log;
    this.#settings = settings;
    this.#writer = writer;
    this.#breaker = new Breaker(components.clock);
  }

  /** Whether a frame can be read now. One that cannot is counted as a miss. */
  has(salt: Uint8Array, frame: number): boolean {
    const index = this.#readable();
    const there = index !== undefined && index.find(saltLow(salt), saltHigh(salt), frame) >= 0;
    if (!there) this.#misses += 1;
    return there;
  }

  /**
   * Copies the sealed bytes of frames `firstFrame`, … to `target`, one after another, and gives
   * true; or false when one of them is not there with the length in `lengths`. Then `target` may
   * have been written to in part.
   */
  async read(
    salt: Uint8Array,
    firstFrame: number,
    lengths: Uint32Array,
    target: Uint8Array,
  ): Promise<boolean> {
    const index = this.#readable();
    const runs = index && planRuns(index, saltLow(salt), saltHigh(salt), firstFrame, lengths);
    if (index === undefined || runs === undefined) {
      this.#misses += lengths.length;
      return false;
    }
    let damaged: number;
    try {
      damaged = await copyRuns(index, runs, target);
      this.#succeeded();
    } catch (error) {
      damaged = lengths.length;
      this.forget(salt, firstFrame, lengths.length);
      this.#failed(error);
    }
    this.#damaged += damaged;
    if (damaged > 0) this.#misses += lengths.length;
    else this.#hits += lengths.length;
    return damaged === 0;
  }

  /**
   * Keeps a copy of frames `firstFrame`, … that lie one after another in `bytes`, which are
   * borrowed until the return. Written later, or dropped when more wait than may.
   */
  insert(salt: Uint8Array, firstFrame: number, lengths: Uint32Array, bytes: Uint8Array): void {
    this.#writer.insert(saltLow(salt), saltHigh(salt), firstFrame, lengths, bytes);
  }

  /** Drops `count` frames: they would not unseal, or their object is gone. */
  forget(salt: Uint8Array, firstFrame: number, count: number): void {
    const index = this.#writer.index;
    if (index === undefined) return;
    const low = saltLow(salt);
    const high = saltHigh(salt);
    for (let frame = firstFrame; frame < firstFrame + count; frame++) {
      const id = index.find(low, high, frame);
      if (id >= 0) index.remove(index.slabOf(id), index.entryOf(id));
    }
  }

  stats(): DiskCacheStats {
    const writer = this.#writer.stats();
    return {
      ...writer,
      hits: this.#hits,
      misses: this.#misses,
      damaged: this.#damaged,
      budgetBytes: this.#settings.budgetBytes,
      failed: writer.failed || this.#breaker.failed,
    };
  }

  /** Resolves when nothing waits to be written. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /**
   * Writes what waits, and what lets the next start load each slab by one read. From then on all
   * reads miss.
   */
  close(): Promise<void> {
    return this.#writer.close();
  }

  #readable(): EntryIndex | undefined {
    return this.#breaker.mayTry() ? this.#writer.index : undefined;
  }

  #succeeded(): void {
    this.#failures = 0;
    if (!this.#breaker.failed) return;
    this.#breaker.succeed();
    this.#log.info('disk-cache.read.recovered');
  }

  /** One bad place costs what lies there; a row of them, all reads for a while. */
  #failed(error: unknown): void {
    if (!isStorageError(error)) throw error;
    this.#failures += 1;
    if (this.#failures < READ_FAILURES_MAX && !this.#breaker.failed) return;
    this.#breaker.fail();
    this.#log.warn('disk-cache.read.failed', { retryMs: RETRY_MS, error: messageOf(error) });
  }
}

// All that changes the disk: one loop that loads what is there, makes room (evictor.ts) and writes
// what waits in the queue (slab-set.ts), one thing after another. Nothing is synced.
//
// Failure policy of the loop: when the disk refuses, what waits is dropped, and newcomers are until
// RETRY_MS have passed; the next one after that starts the loop again. What is on disk can be read
// meanwhile. A bug (any error that is not a StorageError) turns the cache off for good.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { isStorageError, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import { Breaker, RETRY_MS } from './breaker.ts';
import type { Disk } from './disk.ts';
import { type EntryIndex, hashKey } from './entry-index.ts';
import { Evictor } from './evictor.ts';
import { InsertQueue } from './insert-queue.ts';
import { type Layout, layoutFor, layoutOf } from './layout.ts';
import { MAIN, PROBATION, type SlabKind } from './slab-format.ts';
import { loadSlabs } from './slab-loader.ts';
import { SlabSet } from './slab-set.ts';

export interface DiskCacheComponents {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export interface DiskCacheSettings {
  /** Made if need be. Files named `slab-<number>` in it belong to the cache. */
  readonly directory: string;
  /** Bytes of files at most. Below 2 MiB nothing is cached. */
  readonly budgetBytes: number;
  /** A power of two. Left out: what suits the budget. */
  readonly slabBytes?: number;
}

/** Counts are of frames. */
export interface CacheWriterStats {
  readonly inserts: number;
  /** Not kept: the queue was full, or the disk failed. */
  readonly dropped: number;
  readonly evictions: number;
  /** Written once more when their slab left, as they had been read again. */
  readonly moved: number;
  readonly entries: number;
  /** Sealed bytes that can be read. */
  readonly bytes: number;
  readonly queuedBytes: number;
  readonly fileBytes: number;
  /** Memory of index, entries and policy, and what is kept for the queue to use again. */
  readonly overheadBytes: number;
  /** The disk refuses at present. */
  readonly failed: boolean;
}

interface Loaded {
  readonly set: SlabSet;
  readonly evictor: Evictor;
}

export class CacheWriter {
  readonly #c: DiskCacheComponents;
  readonly #directory: string;
  readonly #layout: Layout;
  readonly #queue = new InsertQueue();
  readonly #breaker: Breaker;
  #loaded: Loaded | undefined;
  #loop: Promise<void> | undefined;
  #off = false;
  #inserts = 0;
  #dropped = 0;

  constructor(components: DiskCacheComponents, settings: DiskCacheSettings) {
    const { directory, budgetBytes, slabBytes } = settings;
    this.#c = components;
    this.#directory = directory;
    this.#layout =
      slabBytes === undefined ? layoutFor(budgetBytes) : layoutOf(budgetBytes, slabBytes);
    this.#breaker = new Breaker(components.clock);
  }

  /** Undefined until the directory was read, and after the close. */
  get index(): EntryIndex | undefined {
    return this.#loaded?.set.index;
  }

  /** Resolves when what is on disk was found, or the disk refused. */
  start(): Promise<void> {
    this.#wake();
    return this.flush();
  }

  insert(
    low: number,
    high: number,
    firstFrame: number,
    lengths: Uint32Array,
    bytes: Uint8Array,
  ): void {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    assert(total <= bytes.length, 'frames to be cached are there');
    if (this.#layout.slabCount === 0 || this.#hasAll(low, high, firstFrame, lengths)) return;
    if (this.#off || !this.#breaker.mayTry() || !this.#queue.hasRoom(lengths.length, total)) {
      this.#dropped += lengths.length;
      return;
    }
    let at = 0;
    for (let index = 0; index < lengths.length; index++) {
      const end = at + lengths[index]!;
      this.#enqueue(low, high, firstFrame + index, bytes.subarray(at, end));
      at = end;
    }
    this.#wake();
  }

  /** Resolves when nothing waits to be written. */
  async flush(): Promise<void> {
    while (this.#loop !== undefined) await this.#loop;
  }

  /** Writes what waits, and the directories of the open slabs. */
  async close(): Promise<void> {
    if (this.#off) return;
    await this.flush();
    this.#off = true;
    const set = this.#loaded?.set;
    this.#loaded = undefined;
    try {
      await set?.close();
    } catch (error) {
      this.#fail(error);
    }
  }

  stats(): CacheWriterStats {
    const { set, evictor } = this.#loaded ?? {};
    return {
      inserts: this.#inserts,
      dropped: this.#dropped,
      evictions: evictor?.evicted ?? 0,
      moved: evictor?.moved ?? 0,
      entries: set?.index.size ?? 0,
      bytes: set?.index.bytes ?? 0,
      queuedBytes: this.#queue.bytes,
      fileBytes: set?.fileBytes ?? 0,
      overheadBytes:
        (set?.memoryBytes ?? 0) + (evictor?.memoryBytes ?? 0) + this.#queue.memoryBytes,
      failed: this.#breaker.failed,
    };
  }

  #hasAll(low: number, high: number, firstFrame: number, lengths: Uint32Array): boolean {
    const index = this.index;
    if (index === undefined) return false;
    for (let at = 0; at < lengths.length; at++) {
      const id = index.find(low, high, firstFrame + at);
      if (id < 0 || index.slabOf(id).length(index.entryOf(id)) !== lengths[at]) return false;
    }
    return true;
  }

  #enqueue(low: number, high: number, frame: number, bytes: Uint8Array): void {
    if (bytes.length > this.#layout.entryBytesMax) {
      this.#dropped += 1;
      return;
    }
    const known = this.#loaded?.evictor.wasDropped(hashKey(low, high, frame)) === true;
    this.#queue.push(known ? MAIN : PROBATION, low, high, frame, bytes);
    this.#inserts += 1;
  }

  #wake(): void {
    this.#loop ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      // What the rest of this turn brings goes into the same write.
      await this.#c.clock.yieldTurn();
      this.#loaded ??= await this.#load();
      const { set, evictor } = this.#loaded;
      while (this.#queue.count > 0 || set.mustEvict) {
        if (set.mustEvict) await evictor.step();
        await this.#writeSome(set, MAIN);
        await this.#writeSome(set, PROBATION);
      }
      if (this.#breaker.failed) this.#c.log.info('disk-cache.recovered');
      this.#breaker.succeed();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#loop = undefined;
    }
  }

  async #load(): Promise<Loaded> {
    const { disk, rng, log, clock } = this.#c;
    const startMs = clock.monotonicMs();
    const set = new SlabSet({ disk, rng }, this.#directory, this.#layout);
    const slabs = await loadSlabs(disk, this.#directory, this.#layout);
    set.adopt(slabs);
    log.info('disk-cache.loaded', {
      slabs: slabs.length,
      entries: set.index.size,
      bytes: set.index.bytes,
      ms: Math.round(clock.monotonicMs() - startMs),
    });
    return { set, evictor: new Evictor(set) };
  }

  /** Writes one record of a kind, if some wait and there is room. */
  async #writeSome(set: SlabSet, kind: SlabKind): Promise<void> {
    const waiting = this.#queue.waiting(kind);
    if (waiting.length === 0) return;
    const placed = await set.append(kind, waiting, false);
    if (placed === undefined) return;
    for (let at = 0; at < placed.count; at++) set.index.put(placed.slab, placed.first + at);
    this.#queue.drop(kind, placed.count);
  }

  #fail(error: unknown): void {
    this.#dropped += this.#queue.clear();
    this.#breaker.fail();
    const fields = { directory: this.#directory, error: messageOf(error) };
    if (isStorageError(error)) {
      this.#c.log.warn('disk-cache.failed', { ...fields, retryMs: RETRY_MS });
    } else {
      this.#off = true;
      this.#loaded = undefined;
      this.#c.log.error('disk-cache.bug', fields);
    }
  }
}

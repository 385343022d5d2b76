// Blocks of durable segments that the memory cache does not hold: which frames, one read of the disk
// cache or one ranged GET for neighbours, unseal, cache.
//
// Concurrent misses on a frame share one fetch. The bytes under way are bounded; who comes later
// waits.

import { isStorageError, messageOf, StorageError } from '../base/errors.ts';
import { Semaphore } from '../base/semaphore.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import { SingleFlight } from '../cache/single-flight.ts';
import { FrameKind } from '../codec/frame.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { type FrameTable, lengthsOf } from './format/frame-table.ts';
import { BLOCK_BYTES, blockOf, segmentOf } from './format/pointer.ts';
import type { Lineage } from './manifest/lineage.ts';
import type { Tree } from './tree.ts';

/**
 * Sealed bytes fetched by one ranged GET at most: larger ones gain nothing and hold up small ones.
 */
const RANGE_BYTES_MAX = 1024 * 1024;
/** Plaintext bytes under way at most, over all readers. */
const FLIGHT_BYTES_MAX = 32 * 1024 * 1024;

/** A block that a reader wants: bytes [from, from + length) of it to `targetAt`. */
export interface Miss {
  readonly pointer: number;
  readonly from: number;
  readonly length: number;
  readonly targetAt: number;
}

export interface FrameReaderComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly tree: Tree;
  readonly cache: BlockCache;
  /** Sealed frames on a local disk. What it gives is verified like what the store gives. */
  readonly diskCache?: DiskCache | undefined;
  readonly lineage: Lineage;
}

interface FrameRange {
  readonly segment: number;
  readonly table: FrameTable;
  readonly start: number;
  readonly end: number;
  /** The disk cache had all of its frames. */
  readonly onDisk: boolean;
}

export class FrameReader {
  readonly #c: FrameReaderComponents;
  /** Plaintext of a frame, borrowed by all who joined. */
  readonly #flights = new SingleFlight<Uint8Array>();
  readonly #budget = new Semaphore(FLIGHT_BYTES_MAX);

  constructor(components: FrameReaderComponents) {
    this.#c = components;
  }

  /**
   * Copies every wanted block to `target`. `corrupt` for bytes that are missing or not what was
   * written.
   */
  async read(misses: readonly Miss[], target: Uint8Array): Promise<void> {
    const wanted = misses.map((miss) => ({
      miss,
      segment: segmentOf(miss.pointer),
      block: blockOf(miss.pointer),
    }));
    wanted.sort((a, b) => a.miss.pointer - b.miss.pointer);
    const tables = new Map<number, FrameTable>();
    for (const { segment } of wanted) {
      if (!tables.has(segment)) tables.set(segment, await this.#c.tree.frameTable(segment));
    }
    // From here to the joins nothing is awaited: every frame is under way when it is joined.
    const copies: Promise<void>[] = [];
    let range: FrameRange | undefined;
    let waiting: (typeof wanted)[number][] = [];
    const start = (): void => {
      if (range === undefined) return;
      const flights = this.#fetch(range);
      for (const { miss, block } of waiting) {
        const frame = Math.floor(block / range.table.blocksPerFrame);
        copies.push(copyOut(flights[frame - range.start]!, miss, block, range.table, target));
      }
      range = undefined;
      waiting = [];
    };
    for (const want of wanted) {
      const { segment, block, miss } = want;
      const table = tables.get(segment)!;
      const frame = Math.floor(block / table.blocksPerFrame);
      assertFrame(table, frame, segment, block);
      if (range?.segment === segment && frame < range.end) {
        waiting.push(want);
        continue;
      }
      const flying = this.#flights.join(segment, frame);
      if (flying !== undefined) {
        copies.push(copyOut(flying, miss, block, table, target));
        continue;
      }
      const onDisk = this.#c.diskCache?.has(table.salt, frame) ?? false;
      const isNext = range?.segment === segment && frame === range.end && onDisk === range.onDisk;
      if (range !== undefined && isNext && fits(range, frame)) {
        range = { ...range, end: frame + 1 };
      } else {
        start();
        range = { segment, table, start: frame, end: frame + 1, onDisk };
      }
      waiting.push(want);
    }
    start();
    await allSettledOrThrow(copies);
  }

  /** Brings blocks into the cache. */
  async prefetch(pointers: readonly number[]): Promise<void> {
    const misses = pointers.map((pointer) => ({ pointer, from: 0, length: 0, targetAt: 0 }));
    await this.read(misses, NO_TARGET);
  }

  /** Registers one flight per frame of the range and begins. Returns them in order. */
  #fetch(range: FrameRange): Promise<Uint8Array>[] {
    const whole = this.#fetchRange(range);
    const flights: Promise<Uint8Array>[] = [];
    for (let frame = range.start; frame < range.end; frame++) {
      const flight = whole.then((plain) => {
        const frameBytes = range.table.blocksPerFrame * BLOCK_BYTES;
        const at = (frame - range.start) * frameBytes;
        return plain.subarray(at, at + frameBytes);
      });
      // Whoever wants the frame awaits it and sees the failure; a prefetch may find no one there.
      flight.catch(() => {});
      flights.push(this.#flights.start(range.segment, frame, flight));
    }
    return flights;
  }

  async #fetchRange(range: FrameRange): Promise<Uint8Array> {
    const { segment, table, start, end } = range;
    const { cache } = this.#c;
    const firstBlock = start * table.blocksPerFrame;
    const blocks = Math.min(table.blocks, end * table.blocksPerFrame) - firstBlock;
    const plain = new Uint8Array(blocks * BLOCK_BYTES);
    await this.#budget.acquire(plain.length);
    try {
      const known = range.onDisk && (await this.#readDisk(range, plain));
      if (!known) await this.#readStore(range, plain);
      cache.insertRun(segment, firstBlock, blocks, plain, 0);
      return plain;
    } catch (error) {
      throw asReadError(error, segment);
    } finally {
      this.#budget.release(plain.length);
    }
  }

  /** False when the disk cache has not got all of it after all, or not what was put there. */
  async #readDisk(range: FrameRange, plain: Uint8Array): Promise<boolean> {
    const { table, start, end } = range;
    const diskCache = this.#c.diskCache!;
    const sealed = new Uint8Array(table.offsets[end]! - table.offsets[start]!);
    if (!(await diskCache.read(table.salt, start, lengthsIn(range), sealed))) return false;
    try {
      await this.#unseal(range, sealed, plain);
      return true;
    } catch (error) {
      if (!isStorageError(error, 'corrupt')) throw error;
      diskCache.forget(table.salt, start, end - start);
      return false;
    }
  }

  async #readStore(range: FrameRange, plain: Uint8Array): Promise<void> {
    const { store, lineage, diskCache } = this.#c;
    const { segment, table, start, end } = range;
    const name = lineage.segmentName(segment, table);
    const bounds = { start: table.offsets[start]!, end: table.offsets[end]! };
    const { bytes } = await store.get(name, bounds, { cause: 'read' });
    if (bytes.length !== bounds.end - bounds.start) {
      throw new StorageError('corrupt', `${name} ends early, after ${bytes.length} bytes`);
    }
    await this.#unseal(range, bytes, plain);
    diskCache?.insert(table.salt, start, lengthsIn(range), bytes);
  }

  async #unseal(range: FrameRange, sealed: Uint8Array, target: Uint8Array): Promise<void> {
    const { keyring, sealer, lineage } = this.#c;
    const { segment, table, start } = range;
    const name = lineage.segmentName(segment, table);
    const lengths = await sealer.unseal({
      seal: keyring.sealFor(name, table.salt, table.cipher),
      kind: FrameKind.data,
      firstIndex: start,
      sealed,
      sealedLengths: lengthsIn(range),
      target,
    });
    if (lengths.reduce((sum, length) => sum + length, 0) === target.length) return;
    throw new StorageError('corrupt', `frames of ${name} have another length than their table`);
  }
}

/** Sealed lengths of the range's frames. */
function lengthsIn({ table, start, end }: FrameRange): Uint32Array {
  return lengthsOf(table.offsets.subarray(start, end + 1));
}

const NO_TARGET = new Uint8Array(0);

function fits(range: FrameRange, frame: number): boolean {
  return range.table.offsets[frame + 1]! - range.table.offsets[range.start]! <= RANGE_BYTES_MAX;
}

async function copyOut(
  flight: Promise<Uint8Array>,
  miss: Miss,
  block: number,
  table: FrameTable,
  target: Uint8Array,
): Promise<void> {
  const plain = await flight;
  const at = (block % table.blocksPerFrame) * BLOCK_BYTES + miss.from;
  target.set(plain.subarray(at, at + miss.length), miss.targetAt);
}

function assertFrame(table: FrameTable, frame: number, segment: number, block: number): void {
  if (frame + 1 < table.offsets.length && block < table.blocks) return;
  throw new StorageError('corrupt', `segment ${segment} has no block ${block}`);
}

/**
 * A referenced object that is gone or shorter than its table says is damage, not a missing name.
 */
function asReadError(error: unknown, segment: number): unknown {
  if (isStorageError(error, 'notFound') || isStorageError(error, 'invalid')) {
    return new StorageError('corrupt', `data of segment ${segment} is lost: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return error;
}

/**
 * Waits for all, so that no one writes to the target after the call has settled; then throws the
 * first error.
 */
async function allSettledOrThrow(promises: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

// Blocks of durable segments that the memory cache does not hold: which frames, one read of the
// disk cache or one ranged GET for neighbours, unseal, cache.
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
import { BLOCK_BYTES, blockOf, pointerTo, segmentOf } from './format/pointer.ts';
import type { Lineage } from './manifest/lineage.ts';
import type { Tree } from './tree.ts';

/**
 * Sealed bytes fetched by one ranged GET at most: larger ones gain nothing and hold up small ones.
 * Room for 1 MiB of plaintext that does not compress and begins within a frame: seventeen of them.
 */
const RANGE_BYTES_MAX = 1088 * 1024 + 1024;
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

/** Misses [firstMiss, endMiss) of a read, whose blocks lie in frames [start, end) of a segment. */
interface FrameRange {
  readonly segment: number;
  readonly table: FrameTable;
  readonly start: number;
  readonly firstMiss: number;
  end: number;
  endMiss: number;
  /** The disk cache had all of its frames. */
  readonly onDisk: boolean;
}

/** Plaintext of neighbouring frames, borrowed by all who wait for one of them. */
interface PlainRun {
  readonly plain: Buffer;
  /** The block that `plain` begins with. */
  readonly firstBlock: number;
}

export class FrameReader {
  readonly #c: FrameReaderComponents;
  /** By (segment, frame): the frames of one range share a run. */
  readonly #flights = new SingleFlight<PlainRun>();
  readonly #budget = new Semaphore(FLIGHT_BYTES_MAX);

  constructor(components: FrameReaderComponents) {
    this.#c = components;
  }

  /**
   * Copies every wanted block to `target`. `corrupt` for bytes that are missing or not what was
   * written.
   */
  async read(misses: readonly Miss[], target: Uint8Array): Promise<void> {
    const wanted = misses.toSorted((a, b) => a.pointer - b.pointer);
    const tables = new Map<number, FrameTable>();
    for (const { pointer } of wanted) {
      const segment = segmentOf(pointer);
      if (!tables.has(segment)) tables.set(segment, await this.#c.tree.frameTable(segment));
    }
    // From here to the joins nothing is awaited: every frame is under way when it is joined.
    const copies: Promise<void>[] = [];
    let range: FrameRange | undefined;
    const start = (): void => {
      if (range === undefined) return;
      const { firstMiss, endMiss } = range;
      copies.push(this.#copyOut(this.#start(range, wanted), wanted, firstMiss, endMiss, target));
      range = undefined;
    };
    for (let at = 0, end = 0; at < wanted.length; at = end) {
      const { pointer } = wanted[at]!;
      const segment = segmentOf(pointer);
      const table = tables.get(segment)!;
      const frame = Math.floor(blockOf(pointer) / table.blocksPerFrame);
      end = endOfFrame(wanted, at, pointerTo(segment, (frame + 1) * table.blocksPerFrame));
      assertFrame(table, frame, segment, blockOf(wanted[end - 1]!.pointer));
      const flying = this.#flights.join(segment, frame);
      if (flying !== undefined) {
        copies.push(this.#copyOut(flying, wanted, at, end, target));
        continue;
      }
      const onDisk = this.#c.diskCache?.has(table.salt, frame) ?? false;
      const isNext = range?.segment === segment && frame === range.end && onDisk === range.onDisk;
      if (range !== undefined && isNext && fits(range, frame)) {
        range.end = frame + 1;
        range.endMiss = end;
      } else {
        start();
        range = {
          segment,
          table,
          start: frame,
          firstMiss: at,
          end: frame + 1,
          endMiss: end,
          onDisk,
        };
      }
    }
    start();
    await allSettledOrThrow(copies);
  }

  /** Brings blocks into the cache. */
  async prefetch(pointers: readonly number[]): Promise<void> {
    const misses = pointers.map((pointer) => ({ pointer, from: 0, length: 0, targetAt: 0 }));
    await this.read(misses, NO_TARGET);
  }

  /** Begins to fetch a range, and registers it as the flight of each of its frames. */
  #start(range: FrameRange, wanted: readonly Miss[]): Promise<PlainRun> {
    const run = this.#fetchRange(range, wanted);
    for (let frame = range.start; frame < range.end; frame++) {
      void this.#flights.start(range.segment, frame, run);
    }
    return run;
  }

  async #fetchRange(range: FrameRange, wanted: readonly Miss[]): Promise<PlainRun> {
    const { segment, table, start, end } = range;
    const firstBlock = start * table.blocksPerFrame;
    const blocks = Math.min(table.blocks, end * table.blocksPerFrame) - firstBlock;
    await this.#budget.acquire(blocks * BLOCK_BYTES);
    try {
      // Not zeroed: `#unseal` checks that it wrote all of it.
      const plain = Buffer.allocUnsafeSlow(blocks * BLOCK_BYTES);
      const known = range.onDisk && (await this.#readDisk(range, plain));
      if (!known) await this.#readStore(range, plain);
      const run = { plain, firstBlock };
      this.#keep(range, wanted, blocks, run);
      return run;
    } catch (error) {
      throw asReadError(error, segment);
    } finally {
      this.#budget.release(blocks * BLOCK_BYTES);
    }
  }

  /** To the cache: what was asked for, and with less claim the rest of its frames. */
  #keep(range: FrameRange, wanted: readonly Miss[], blocks: number, run: PlainRun): void {
    const { cache } = this.#c;
    const { plain, firstBlock } = run;
    for (let at = range.firstMiss; at < range.endMiss; at++) {
      const block = blockOf(wanted[at]!.pointer);
      cache.insert(range.segment, block, plain, (block - firstBlock) * BLOCK_BYTES);
    }
    if (range.endMiss - range.firstMiss === blocks) return;
    cache.insertAlong(range.segment, firstBlock, blocks, plain, 0);
  }

  /** Copies misses [at, end) of `wanted`, all of one segment, when what holds them has come. */
  async #copyOut(
    flight: Promise<PlainRun>,
    wanted: readonly Miss[],
    at: number,
    end: number,
    target: Uint8Array,
  ): Promise<void> {
    const { plain, firstBlock } = await flight;
    const { cache } = this.#c;
    for (let index = at; index < end; index++) {
      const { pointer, from, length, targetAt } = wanted[index]!;
      // Nothing is copied for a prefetch, and nobody has read the block yet.
      if (length === 0) continue;
      const block = blockOf(pointer);
      const start = (block - firstBlock) * BLOCK_BYTES + from;
      plain.copy(target, targetAt, start, start + length);
      cache.markRead(segmentOf(pointer), block);
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

/** Where the misses that lie before `pointerEnd` end. */
function endOfFrame(wanted: readonly Miss[], from: number, pointerEnd: number): number {
  let end = from + 1;
  while (end < wanted.length && wanted[end]!.pointer < pointerEnd) end += 1;
  return end;
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

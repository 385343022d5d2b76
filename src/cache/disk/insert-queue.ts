// Frames that wait to be written, by the kind of slab they go to. Bounded: a full queue takes no
// more, and whoever brought them goes on without.
//
// They are copied into chunks that are used again and again: fresh memory for each would cost more
// than the copy does. A chunk is filled from front to back, and free when nothing in it waits.

import { assert } from '../../base/assert.ts';
import { MAIN, PROBATION, type SlabKind, sumOf } from './slab-format.ts';
import type { Item } from './slab-set.ts';

/** Sealed bytes that wait or are being written. A disk that is slower than this is no help. */
export const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
/** So many small ones that their bookkeeping matters. */
const QUEUE_ITEMS_MAX = 8192;
/** Free chunks together hold no more than the queue may. */
const CHUNK_BYTES = 1024 * 1024;
const FREE_CHUNKS_MAX = QUEUE_BYTES_MAX / CHUNK_BYTES;

interface Chunk {
  readonly bytes: Buffer;
  used: number;
  /** Items in it that wait. */
  waiting: number;
}

interface QueuedItem extends Item {
  readonly chunk: Chunk;
}

export class InsertQueue {
  readonly #items: Record<SlabKind, QueuedItem[]> = { [PROBATION]: [], [MAIN]: [] };
  readonly #freeChunks: Chunk[] = [];
  #chunk: Chunk = { bytes: Buffer.alloc(0), used: 0, waiting: 0 };
  #bytes = 0;
  #count = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  get memoryBytes(): number {
    return this.#chunk.bytes.length + this.#freeChunks.length * CHUNK_BYTES;
  }

  hasRoom(items: number, bytes: number): boolean {
    return this.#count + items <= QUEUE_ITEMS_MAX && this.#bytes + bytes <= QUEUE_BYTES_MAX;
  }

  /** Adds a copy of a frame's bytes, for which there is room. */
  push(kind: SlabKind, low: number, high: number, frame: number, borrowed: Uint8Array): void {
    assert(this.hasRoom(1, borrowed.length), 'a full queue takes no more');
    const chunk = this.#chunkFor(borrowed.length);
    const bytes = chunk.bytes.subarray(chunk.used, chunk.used + borrowed.length);
    bytes.set(borrowed);
    chunk.used += bytes.length;
    chunk.waiting += 1;
    this.#items[kind].push({ low, high, frame, sum: sumOf(bytes), bytes, chunk });
    this.#bytes += bytes.length;
    this.#count += 1;
  }

  /** Borrowed until they are dropped: all that wait, the first come first. */
  waiting(kind: SlabKind): readonly Item[] {
    return this.#items[kind];
  }

  /** Takes the first `count` out. */
  drop(kind: SlabKind, count: number): void {
    for (const { bytes, chunk } of this.#items[kind].splice(0, count)) {
      this.#bytes -= bytes.length;
      chunk.waiting -= 1;
      if (chunk.waiting === 0) this.#release(chunk);
    }
    this.#count -= count;
  }

  /** Takes all out, and gives their count. */
  clear(): number {
    const count = this.#count;
    for (const kind of [PROBATION, MAIN] as const) this.drop(kind, this.#items[kind].length);
    return count;
  }

  #chunkFor(bytes: number): Chunk {
    if (this.#chunk.used + bytes <= this.#chunk.bytes.length) return this.#chunk;
    const full = this.#chunk;
    const free = bytes <= CHUNK_BYTES ? this.#freeChunks.pop() : undefined;
    const size = Math.max(CHUNK_BYTES, bytes);
    this.#chunk = free ?? { bytes: Buffer.allocUnsafeSlow(size), used: 0, waiting: 0 };
    if (full.waiting === 0) this.#release(full);
    return this.#chunk;
  }

  #release(chunk: Chunk): void {
    chunk.used = 0;
    if (chunk === this.#chunk) return;
    const poolable = chunk.bytes.length === CHUNK_BYTES;
    if (poolable && this.#freeChunks.length < FREE_CHUNKS_MAX) this.#freeChunks.push(chunk);
  }
}

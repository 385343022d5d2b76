// Reading a file's bytes: resolve pointers, copy what memory holds, fetch the rest.
//
// The fast path takes no promise: it walks blocks as long as pointers and bytes are in memory and
// stops at the first that is not. The slow path goes on from there in windows: it resolves a
// window's pointers, loads maps that are missing, copies or fetches. Pointers stay readable after
// they have been overwritten, so a window's pointers need not be looked up again after an await: a
// read that overlaps a write in time may see either. The collector lets a reader finish before it
// deletes an object, but a segment's frame table may be gone by then: a window that fails is read
// again if a pointer of it has changed.

import { assert } from '../base/assert.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { FrameReader, Miss } from './frame-reader.ts';
import { BLOCK_BYTES, blockOf, CHUNK_BLOCKS, POINTER_MIN, segmentOf } from './format/pointer.ts';
import type { Segment } from './log/segment.ts';
import { type Tree, UNKNOWN } from './tree.ts';

/** Blocks resolved and fetched at a time by one read: 4 MiB. */
const WINDOW_BLOCKS = 1024;

export interface FileReaderComponents {
  readonly tree: Tree;
  readonly cache: BlockCache;
  readonly frames: FrameReader;
  /** Segments whose plaintext is in memory. */
  readonly resident: ReadonlyMap<number, Segment>;
}

export class FileReader {
  readonly #c: FileReaderComponents;

  constructor(components: FileReaderComponents) {
    this.#c = components;
  }

  /** Fills `target` with the file's bytes from `offset`; what was never written reads as zeroes. */
  read(inode: number, offset: number, target: Uint8Array): void | Promise<void> {
    const done = this.#readFast(inode, offset, target);
    if (done < target.length) return this.#readSlow(inode, offset, target, done);
    return undefined;
  }

  /** Bytes filled before something had to be waited for. */
  #readFast(inode: number, offset: number, target: Uint8Array): number {
    const { tree } = this.#c;
    let done = 0;
    while (done < target.length) {
      const at = offset + done;
      const from = at % BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES - from, target.length - done);
      const block = (at - from) / BLOCK_BYTES;
      const chunk = Math.floor(block / CHUNK_BLOCKS);
      const pointer = tree.pointer(inode, chunk, block % CHUNK_BLOCKS);
      if (pointer === UNKNOWN) return done;
      if (!this.copyFromMemory(pointer, from, length, target, done)) return done;
      done += length;
    }
    return done;
  }

  /** Copies a part of one block if no fetch is needed for it. */
  copyFromMemory(
    pointer: number,
    from: number,
    length: number,
    target: Uint8Array,
    targetAt: number,
  ): boolean {
    if (pointer < POINTER_MIN) {
      target.fill(0, targetAt, targetAt + length);
      return true;
    }
    const segment = segmentOf(pointer);
    const block = blockOf(pointer);
    const resident = this.#c.resident.get(segment);
    if (resident !== undefined) {
      const at = block * BLOCK_BYTES + from;
      target.set(resident.arena.plain.subarray(at, at + length), targetAt);
      return true;
    }
    const { cache } = this.#c;
    if (length === BLOCK_BYTES) return cache.copyOut(segment, block, target, targetAt);
    const slot = cache.find(segment, block);
    if (slot < 0) return false;
    cache.copySlot(slot, target, targetAt, from, from + length);
    return true;
  }

  async #readSlow(
    inode: number,
    offset: number,
    target: Uint8Array,
    doneBefore: number,
  ): Promise<void> {
    let done = doneBefore;
    while (done < target.length) {
      const misses: Miss[] = [];
      const windowStart = done;
      const windowEnd = Math.min(target.length, done + WINDOW_BLOCKS * BLOCK_BYTES);
      while (done < windowEnd) {
        const at = offset + done;
        const from = at % BLOCK_BYTES;
        const length = Math.min(BLOCK_BYTES - from, target.length - done);
        const pointer = await this.resolve(inode, (at - from) / BLOCK_BYTES);
        if (!this.copyFromMemory(pointer, from, length, target, done)) {
          misses.push({ pointer, from, length, targetAt: done });
        }
        done += length;
      }
      if (misses.length > 0 && !(await this.#fetch(inode, offset, misses, target))) {
        done = windowStart;
      }
    }
  }

  /** False when the fetch failed because blocks have moved meanwhile: look again. */
  async #fetch(
    inode: number,
    offset: number,
    misses: readonly Miss[],
    target: Uint8Array,
  ): Promise<boolean> {
    try {
      await this.#c.frames.read(misses, target);
      return true;
    } catch (error) {
      for (const { pointer, targetAt } of misses) {
        const block = Math.floor((offset + targetAt) / BLOCK_BYTES);
        if ((await this.resolve(inode, block)) !== pointer) return false;
      }
      throw error;
    }
  }

  /** The pointer of a file's block, from the tables if need be. */
  resolve(inode: number, fileBlock: number): number | Promise<number> {
    const chunk = Math.floor(fileBlock / CHUNK_BLOCKS);
    const pointer = this.#c.tree.pointer(inode, chunk, fileBlock % CHUNK_BLOCKS);
    return pointer === UNKNOWN ? this.#resolveSlow(inode, chunk, fileBlock) : pointer;
  }

  async #resolveSlow(inode: number, chunk: number, fileBlock: number): Promise<number> {
    for (;;) {
      await this.#c.tree.loadChunk(inode, chunk);
      const pointer = this.#c.tree.pointer(inode, chunk, fileBlock % CHUNK_BLOCKS);
      if (pointer !== UNKNOWN) return pointer;
    }
  }

  /** Brings `[offset, end)` into the cache, as far as the cache and the bound on fetches allow. */
  async prefetch(inode: number, offset: number, end: number): Promise<void> {
    assert(offset <= end, 'a range does not end before it starts');
    const { cache, resident, frames } = this.#c;
    const last = Math.ceil(end / BLOCK_BYTES);
    let block = Math.floor(offset / BLOCK_BYTES);
    while (block < last) {
      const wanted: { readonly block: number; readonly pointer: number }[] = [];
      for (const stop = Math.min(last, block + WINDOW_BLOCKS); block < stop; block++) {
        const pointer = await this.resolve(inode, block);
        const segment = segmentOf(pointer);
        if (pointer < POINTER_MIN || resident.has(segment)) continue;
        if (!cache.has(segment, blockOf(pointer))) wanted.push({ block, pointer });
      }
      if (wanted.length === 0) continue;
      try {
        await frames.prefetch(wanted.map(({ pointer }) => pointer));
      } catch (error) {
        // As `#fetch`, but nobody waits for these: what has moved meanwhile is let go.
        let moved = false;
        for (const one of wanted) moved ||= (await this.resolve(inode, one.block)) !== one.pointer;
        if (!moved) throw error;
      }
    }
  }
}

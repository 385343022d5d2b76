// Changing a file's bytes: append blocks to the open segment and point the memtable at them.
//
// Whole blocks need no knowledge of what was there: the fast path takes no promise. A part of a
// block is merged with the rest of it first. Nothing is awaited between finding out what a block
// held and replacing it, so that two writers of different parts of one block both last.
//
// A run of up to ATOMIC_BLOCKS whole blocks goes into one segment: after a crash all of it is there
// or none.

import type { BlockCache } from '../cache/block-cache.ts';
import type { FileReader } from './file-reader.ts';
import type { FrameReader } from './frame-reader.ts';
import {
  BLOCK_BYTES,
  blockOf,
  CHUNK_BLOCKS,
  HOLE,
  POINTER_MIN,
  pointerTo,
  segmentOf,
  ZERO,
} from './format/pointer.ts';
import type { CommitLog } from './log/commit-log.ts';
import type { Segment } from './log/segment.ts';
import { type Tree, UNKNOWN } from './tree.ts';

/**
 * 1 MiB: larger writes are cut, so that the tail of a segment that they don't fit in is not wasted.
 */
const ATOMIC_BLOCKS = 256;
/**
 * A range of at most this many whole chunks (8 MiB) is dropped without asking which of them exist.
 */
const BLIND_CHUNKS_MAX = 64;
/** Chunks dropped per admission: between two of them the segment may close. */
const DROP_BATCH_CHUNKS = 1024;
const ALL_BLOCKS = -1;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

export interface FileWriterComponents {
  readonly tree: Tree;
  readonly log: CommitLog;
  readonly cache: BlockCache;
  readonly reader: FileReader;
  readonly frames: FrameReader;
  /** What to wait for before the memtable may grow, if anything. */
  readonly memtableRoom: () => Promise<void> | undefined;
}

export class FileWriter {
  readonly #c: FileWriterComponents;
  readonly #atomicBlocks: number;

  constructor(components: FileWriterComponents) {
    this.#c = components;
    this.#atomicBlocks = Math.min(ATOMIC_BLOCKS, components.log.blocksMax);
  }

  /**
   * Stores `source` at `offset`. Returns a promise when memory, or the rest of a block, must be
   * waited for.
   */
  write(inode: number, offset: number, source: Uint8Array): void | Promise<void> {
    let done = 0;
    if (offset % BLOCK_BYTES === 0) {
      while (source.length - done >= BLOCK_BYTES) {
        const count = Math.min(
          this.#atomicBlocks,
          Math.floor((source.length - done) / BLOCK_BYTES),
        );
        const segment = this.#tryAdmit(count);
        if (segment === undefined) break;
        this.#putBlocks(segment, inode, (offset + done) / BLOCK_BYTES, count, source, done);
        done += count * BLOCK_BYTES;
      }
    }
    return done === source.length ? undefined : this.#writeSlow(inode, offset, source, done);
  }

  async #writeSlow(
    inode: number,
    offset: number,
    source: Uint8Array,
    doneBefore: number,
  ): Promise<void> {
    let done = doneBefore;
    while (done < source.length) {
      const at = offset + done;
      const from = at % BLOCK_BYTES;
      const left = source.length - done;
      if (from === 0 && left >= BLOCK_BYTES) {
        const count = Math.min(this.#atomicBlocks, Math.floor(left / BLOCK_BYTES));
        const segment = this.#tryAdmit(count);
        if (segment === undefined) {
          await this.#room();
          continue;
        }
        this.#putBlocks(segment, inode, at / BLOCK_BYTES, count, source, done);
        done += count * BLOCK_BYTES;
      } else {
        const length = Math.min(BLOCK_BYTES - from, left);
        const part = source.subarray(done, done + length);
        await this.#patchBlock(inode, (at - from) / BLOCK_BYTES, from, part);
        done += length;
      }
    }
  }

  /** The open segment with room for `blocks`, or undefined when something must be waited for. */
  #tryAdmit(blocks: number): Segment | undefined {
    return this.#c.memtableRoom() === undefined ? this.#c.log.tryOpen(blocks) : undefined;
  }

  /**
   * What to wait for when `#tryAdmit` gave nothing. A segment is never handed over an await: by the time the
   * waiter runs another may have filled or closed it, so that everyone asks again and then acts at once.
   */
  #room(): Promise<void> {
    return this.#c.memtableRoom() ?? this.#c.log.room();
  }

  /** Applies a change that takes no blocks, as soon as a segment is open, in the turn in which it is. */
  async #change(apply: (segment: Segment) => void): Promise<void> {
    let segment = this.#tryAdmit(0);
    while (segment === undefined) {
      await this.#room();
      segment = this.#tryAdmit(0);
    }
    apply(segment);
  }

  #putBlocks(
    segment: Segment,
    inode: number,
    fileBlock: number,
    count: number,
    source: Uint8Array,
    sourceAt: number,
  ): void {
    const { memtable, arena } = segment;
    let done = 0;
    while (done < count) {
      const inChunk = (fileBlock + done) % CHUNK_BLOCKS;
      const chunk = (fileBlock + done - inChunk) / CHUNK_BLOCKS;
      const run = Math.min(CHUNK_BLOCKS - inChunk, count - done);
      const slot = memtable.ensure(inode, chunk);
      const page = memtable.page(slot);
      const mapAt = memtable.mapAt(slot) + inChunk;
      let mask = 0;
      for (let i = 0; i < run; i++) {
        const from = sourceAt + (done + i) * BLOCK_BYTES;
        page[mapAt + i] = this.#storeBlock(segment, page[mapAt + i]!, arena.plain, source, from);
        mask |= 1 << (inChunk + i);
      }
      segment.touch(inode, chunk, mask);
      done += run;
    }
  }

  /** Puts one block's bytes where its new pointer, which it returns, says. */
  #storeBlock(
    segment: Segment,
    before: number,
    plain: Uint8Array,
    source: Uint8Array,
    from: number,
  ): number {
    const beforeSegment = before < POINTER_MIN ? 0 : segmentOf(before);
    if (isZeroBlock(source, from)) {
      if (beforeSegment !== 0) this.#c.cache.forget(beforeSegment, blockOf(before));
      return HOLE;
    }
    let pointer = before;
    if (beforeSegment !== segment.id) {
      if (beforeSegment !== 0) this.#c.cache.forget(beforeSegment, blockOf(before));
      pointer = pointerTo(segment.id, segment.blocks++);
    }
    const at = blockOf(pointer) * BLOCK_BYTES;
    plain.set(source.subarray(from, from + BLOCK_BYTES), at);
    return pointer;
  }

  /** Replaces `part` of one block, keeping the rest of it. */
  async #patchBlock(
    inode: number,
    fileBlock: number,
    from: number,
    part: Uint8Array,
  ): Promise<void> {
    const { tree, reader, frames } = this.#c;
    const chunk = Math.floor(fileBlock / CHUNK_BLOCKS);
    const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    let fetched = UNKNOWN;
    for (;;) {
      const pointer = tree.pointer(inode, chunk, fileBlock % CHUNK_BLOCKS);
      if (pointer === UNKNOWN) {
        await tree.loadChunk(inode, chunk);
        continue;
      }
      if (pointer !== fetched && !reader.copyFromMemory(pointer, 0, BLOCK_BYTES, block, 0)) {
        await frames.read([{ pointer, from: 0, length: BLOCK_BYTES, targetAt: 0 }], block);
        fetched = pointer;
        continue;
      }
      const segment = this.#tryAdmit(1);
      if (segment === undefined) {
        await this.#room();
        continue;
      }
      // `block` holds what the block holds now, and nothing is awaited until it has been replaced.
      block.set(part, from);
      this.#putBlocks(segment, inode, fileBlock, 1, block, 0);
      return;
    }
  }

  /**
   * The range reads as zeroes; `state` is HOLE or ZERO (allocated). Drops mappings and writes no
   * data, but for the edges that are no whole blocks.
   */
  async zero(inode: number, offset: number, lengthBytes: number, state: number): Promise<void> {
    const end = offset + lengthBytes;
    const firstBlock = Math.ceil(offset / BLOCK_BYTES);
    const lastBlock = Math.floor(end / BLOCK_BYTES);
    if (firstBlock > lastBlock) {
      const from = offset % BLOCK_BYTES;
      await this.#patchBlock(inode, lastBlock, from, ZERO_BLOCK.subarray(0, lengthBytes));
      return;
    }
    const head = firstBlock * BLOCK_BYTES - offset;
    if (head > 0) {
      const from = BLOCK_BYTES - head;
      await this.#patchBlock(inode, firstBlock - 1, from, ZERO_BLOCK.subarray(0, head));
    }
    const tail = end - lastBlock * BLOCK_BYTES;
    if (tail > 0) await this.#patchBlock(inode, lastBlock, 0, ZERO_BLOCK.subarray(0, tail));
    await this.#zeroBlocks(inode, firstBlock, lastBlock, state);
  }

  async #zeroBlocks(inode: number, start: number, end: number, state: number): Promise<void> {
    const firstChunk = Math.ceil(start / CHUNK_BLOCKS);
    const lastChunk = Math.floor(end / CHUNK_BLOCKS);
    if (firstChunk > lastChunk) return this.#zeroPart(inode, start, end, state);
    await this.#zeroPart(inode, start, firstChunk * CHUNK_BLOCKS, state);
    await this.#zeroPart(inode, lastChunk * CHUNK_BLOCKS, end, state);
    const batch: number[] = [];
    const blind = state === ZERO || lastChunk - firstChunk <= BLIND_CHUNKS_MAX;
    const chunks = blind
      ? countUp(firstChunk, lastChunk)
      : this.#c.tree.chunksIn(inode, firstChunk, lastChunk);
    for await (const chunk of chunks) {
      batch.push(chunk);
      if (batch.length === DROP_BATCH_CHUNKS) await this.#zeroChunks(inode, batch.splice(0), state);
    }
    await this.#zeroChunks(inode, batch, state);
  }

  async #zeroChunks(inode: number, chunks: readonly number[], state: number): Promise<void> {
    if (chunks.length === 0) return;
    await this.#change((segment) => {
      for (const chunk of chunks) this.#zeroMap(segment, inode, chunk, 0, CHUNK_BLOCKS, state);
    });
  }

  /** Blocks `[start, end)` of the file, all in one chunk. */
  async #zeroPart(inode: number, start: number, end: number, state: number): Promise<void> {
    if (start === end) return;
    const chunk = Math.floor(start / CHUNK_BLOCKS);
    const base = chunk * CHUNK_BLOCKS;
    await this.#change((segment) => {
      this.#zeroMap(segment, inode, chunk, start - base, end - base, state);
    });
  }

  #zeroMap(
    segment: Segment,
    inode: number,
    chunk: number,
    start: number,
    end: number,
    state: number,
  ): void {
    const { memtable } = segment;
    const slot = memtable.ensure(inode, chunk);
    const page = memtable.page(slot);
    const at = memtable.mapAt(slot);
    for (let block = start; block < end; block++) {
      const before = page[at + block]!;
      if (before >= POINTER_MIN) this.#c.cache.forget(segmentOf(before), blockOf(before));
      page[at + block] = state;
    }
    const count = end - start;
    segment.touch(inode, chunk, count === CHUNK_BLOCKS ? ALL_BLOCKS : ((1 << count) - 1) << start);
  }

  /** Changes a named record; `undefined` deletes it. */
  async putMeta(name: string, value: Uint8Array | undefined): Promise<void> {
    await this.#change((segment) => {
      segment.memtable.putMeta(name, value);
      segment.metas.set(name, value);
    });
  }
}

function isZeroBlock(source: Uint8Array, at: number): boolean {
  // Almost every block that is not zero shows it in its first bytes or its middle.
  if (source[at] !== 0 || source[at + 7] !== 0 || source[at + BLOCK_BYTES / 2] !== 0) return false;
  return ZERO_BLOCK.equals(source.subarray(at, at + BLOCK_BYTES));
}

function* countUp(from: number, to: number): Generator<number> {
  for (let i = from; i < to; i++) yield i;
}

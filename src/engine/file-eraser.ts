// Making ranges read as zeroes: mappings are dropped, no data are written, but for edges that are
// no whole blocks.
//
// A short range is dropped without asking what is there. In a long one only the chunks that exist
// are touched, so that trimming a terabyte costs what is stored in it.

import type { BlockCache } from '../cache/block-cache.ts';
import type { Admission } from './admission.ts';
import type { FileWriter } from './file-writer.ts';
import type { Grace } from './gc/grace.ts';
import {
  BLOCK_BYTES,
  blockOf,
  CHUNK_BLOCKS,
  POINTER_MIN,
  segmentOf,
  ZERO,
} from './format/pointer.ts';
import type { Segment } from './log/segment.ts';
import type { Tree } from './tree.ts';

/** A range of at most this many whole chunks (8 MiB) is dropped without asking which exist. */
const BLIND_CHUNKS_MAX = 64;
/** Chunks dropped per admission: between two of them the segment may close. */
const DROP_BATCH_CHUNKS = 1024;
const ALL_BLOCKS = -1;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

export interface FileEraserComponents {
  readonly tree: Tree;
  readonly cache: BlockCache;
  readonly grace: Grace;
  readonly admission: Admission;
  readonly writer: FileWriter;
}

export class FileEraser {
  readonly #c: FileEraserComponents;

  constructor(components: FileEraserComponents) {
    this.#c = components;
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
      await this.#c.writer.patchBlock(inode, lastBlock, from, ZERO_BLOCK.subarray(0, lengthBytes));
      return;
    }
    const head = firstBlock * BLOCK_BYTES - offset;
    if (head > 0) {
      const from = BLOCK_BYTES - head;
      await this.#c.writer.patchBlock(inode, firstBlock - 1, from, ZERO_BLOCK.subarray(0, head));
    }
    const tail = end - lastBlock * BLOCK_BYTES;
    if (tail > 0)
      await this.#c.writer.patchBlock(inode, lastBlock, 0, ZERO_BLOCK.subarray(0, tail));
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
    const generation = this.#c.grace.enter();
    try {
      for await (const chunk of chunks) {
        batch.push(chunk);
        if (batch.length < DROP_BATCH_CHUNKS) continue;
        await this.#zeroChunks(inode, batch.splice(0), state);
      }
    } finally {
      this.#c.grace.leave(generation);
    }
    await this.#zeroChunks(inode, batch, state);
  }

  async #zeroChunks(inode: number, chunks: readonly number[], state: number): Promise<void> {
    if (chunks.length === 0) return;
    await this.#c.admission.change((segment) => {
      for (const chunk of chunks) this.#zeroMap(segment, inode, chunk, 0, CHUNK_BLOCKS, state);
    });
  }

  /** Blocks `[start, end)` of the file, all in one chunk. */
  async #zeroPart(inode: number, start: number, end: number, state: number): Promise<void> {
    if (start === end) return;
    const chunk = Math.floor(start / CHUNK_BLOCKS);
    const base = chunk * CHUNK_BLOCKS;
    await this.#c.admission.change((segment) => {
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
}

function* countUp(from: number, to: number): Generator<number> {
  for (let i = from; i < to; i++) yield i;
}

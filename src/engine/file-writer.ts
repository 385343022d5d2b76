// Changing a file's bytes: append blocks to the open segment and point the memtable at them.
//
// Whole blocks need no knowledge of what was there: the fast path takes no promise. A part of a
// block is merged with the rest of it first. Nothing is awaited between finding out what a block
// held and replacing it, so that two writers of different parts of one block both last.
//
// A run of up to ATOMIC_BLOCKS whole blocks goes into one segment: after a crash all of it is there
// or none.

import { assert } from '../base/assert.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { Admission } from './admission.ts';
import type { FileReader } from './file-reader.ts';
import type { FrameReader } from './frame-reader.ts';
import type { JournalChange } from './format/journal-change.ts';
import {
  ABSENT,
  BLOCK_BYTES,
  type BlockMap,
  blockOf,
  CHUNK_BLOCKS,
  HOLE,
  POINTER_MIN,
  pointerTo,
  segmentOf,
} from './format/pointer.ts';
import { JOURNAL_META } from './journal/journal-position.ts';
import type { Segment } from './log/segment.ts';
import { type Tree, UNKNOWN } from './tree.ts';

/**
 * 1 MiB: larger writes are cut, so that the tail of a segment that they don't fit in is not wasted.
 */
const ATOMIC_BLOCKS = 256;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

export interface FileWriterComponents {
  readonly tree: Tree;
  readonly admission: Admission;
  readonly cache: BlockCache;
  /** To be asked around every wait that reads objects: they are not deleted meanwhile. */
  readonly hold: <T>(reading: Promise<T>) => Promise<T>;
  readonly reader: FileReader;
  readonly frames: FrameReader;
  /** Blocks that one segment holds. */
  readonly segmentBlocks: number;
}

export class FileWriter {
  readonly #c: FileWriterComponents;
  readonly #atomicBlocks: number;

  constructor(components: FileWriterComponents) {
    this.#c = components;
    this.#atomicBlocks = Math.min(ATOMIC_BLOCKS, components.segmentBlocks);
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
        const segment = this.#c.admission.tryAdmit(count);
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
        const segment = this.#c.admission.tryAdmit(count);
        if (segment === undefined) {
          await this.#c.admission.room();
          continue;
        }
        this.#putBlocks(segment, inode, at / BLOCK_BYTES, count, source, done);
        done += count * BLOCK_BYTES;
      } else {
        const length = Math.min(BLOCK_BYTES - from, left);
        const part = source.subarray(done, done + length);
        await this.patchBlock(inode, (at - from) / BLOCK_BYTES, from, part);
        done += length;
      }
    }
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
  async patchBlock(
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
        await this.#c.hold(tree.loadChunk(inode, chunk));
        continue;
      }
      if (pointer !== fetched && !reader.copyFromMemory(pointer, 0, BLOCK_BYTES, block, 0)) {
        const miss = { pointer, from: 0, length: BLOCK_BYTES, targetAt: 0 };
        try {
          await this.#c.hold(frames.read([miss], block));
        } catch (error) {
          // Whatever failed is of no interest if the block lies elsewhere by now.
          if (tree.pointer(inode, chunk, fileBlock % CHUNK_BLOCKS) === pointer) throw error;
          continue;
        }
        fetched = pointer;
        continue;
      }
      const segment = this.#c.admission.tryAdmit(1);
      if (segment === undefined) {
        await this.#c.admission.room();
        continue;
      }
      // `block` holds what the block holds now, and nothing is awaited until it has been replaced.
      block.set(part, from);
      this.#putBlocks(segment, inode, fileBlock, 1, block, 0);
      return;
    }
  }

  /** Applies one record of a journal, whole, in one segment; the state then says so. */
  async apply(change: JournalChange, position: Uint8Array): Promise<void> {
    assert(change.blocks <= this.#c.segmentBlocks, 'a record fits a segment');
    let segment = this.#c.admission.tryAdmit(change.blocks);
    while (segment === undefined) {
      await this.#c.admission.room();
      segment = this.#c.admission.tryAdmit(change.blocks);
    }
    const into = segment;
    change.forEachChunk((inode, chunk, state) => {
      this.#applyChunk(into, inode, chunk, state, change.data);
    });
    for (const [name, value] of change.metas) into.putMeta(name, value?.slice());
    into.putOwnMeta(JOURNAL_META, position);
  }

  #applyChunk(
    segment: Segment,
    inode: number,
    chunk: number,
    state: BlockMap,
    data: Uint8Array,
  ): void {
    const { memtable, arena } = segment;
    const slot = memtable.ensure(inode, chunk);
    const page = memtable.page(slot);
    const mapAt = memtable.mapAt(slot);
    let mask = 0;
    for (let block = 0; block < CHUNK_BLOCKS; block++) {
      const wanted = state[block]!;
      if (wanted === ABSENT) continue;
      const before = page[mapAt + block]!;
      const from = (wanted - POINTER_MIN) * BLOCK_BYTES;
      page[mapAt + block] =
        wanted < POINTER_MIN
          ? this.#drop(before, wanted)
          : this.#storeBlock(segment, before, arena.plain, data, from);
      mask |= 1 << block;
    }
    if (mask !== 0) segment.touch(inode, chunk, mask);
  }

  #drop(before: number, state: number): number {
    if (before >= POINTER_MIN) this.#c.cache.forget(segmentOf(before), blockOf(before));
    return state;
  }

  /** Changes a named record; `undefined` deletes it. */
  async putMeta(name: string, value: Uint8Array | undefined): Promise<void> {
    await this.#c.admission.change((segment) => {
      segment.putMeta(name, value);
    });
  }
}

function isZeroBlock(source: Uint8Array, at: number): boolean {
  // Almost every block that is not zero shows it in its first bytes or its middle.
  if (source[at] !== 0 || source[at + 7] !== 0 || source[at + BLOCK_BYTES / 2] !== 0) return false;
  return ZERO_BLOCK.equals(source.subarray(at, at + BLOCK_BYTES));
}

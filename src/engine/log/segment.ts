// A log segment while its plaintext is in memory: open (filling), then sealed and uploaded, then
// dropped.
//
// Blocks are appended to the arena in arrival order; a block that is written again while its
// segment is open is written in place. Which blocks of which chunks the segment changed is kept as
// one 32-bit mask per chunk: when it closes, the memtable holds exactly the state that its records
// must carry. A second mask per chunk, and a second map of records, say what changed since the last
// delta was taken for the journal (RFC 0004).

import { ByteWriter } from '../../base/bytes.ts';
import { PairMap } from '../../base/pair-map.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { BLOCK_BYTES, blockOf, CHUNK_BLOCKS, POINTER_MIN } from '../format/pointer.ts';
import type { ChangedMeta } from '../format/records.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { Arena } from './arena.ts';

/** What a journal record is made of. */
export interface SegmentDelta {
  readonly metas: readonly ChangedMeta[];
  /** As the chunk part of a commit record, of the blocks that changed. */
  readonly chunks: Uint8Array;
  /** Where those that are stored lie in the arena, ascending. */
  readonly blocks: readonly number[];
}

export class Segment {
  readonly id: number;
  readonly arena: Arena;
  /** The memtable that the segment's changes are in: it outlives the segment's upload. */
  readonly memtable: Memtable;
  readonly openedMs: number;
  blocks = 0;
  /** Where the blocks lie, for a segment that moves blocks into a data object. It has no others. */
  relocated: Omit<FrameTable, 'logNumber'> | undefined;
  readonly #touched = new PairMap();
  readonly #inodes: number[] = [];
  readonly #chunks: number[] = [];
  readonly #masks: number[] = [];
  readonly metas = new Map<string, Uint8Array | undefined>();
  /** It has closed, and the journal has yet to copy what it wants of its memory. */
  awaitsJournal = false;
  /** Per touched chunk, and the indexes of those that are not zero. */
  readonly #deltaMasks: number[] = [];
  #deltaChunks: number[] = [];
  #deltaMetas = new Set<string>();

  constructor(id: number, arena: Arena, memtable: Memtable, openedMs: number) {
    this.id = id;
    this.arena = arena;
    this.memtable = memtable;
    this.openedMs = openedMs;
  }

  get empty(): boolean {
    return this.#masks.length === 0 && this.metas.size === 0;
  }

  get touchedChunks(): number {
    return this.#masks.length;
  }

  get plainBytes(): number {
    return this.blocks * BLOCK_BYTES;
  }

  /** Notes that the blocks of `mask` in a chunk were changed by this segment. */
  touch(inode: number, chunk: number, mask: number): void {
    const at = this.#touched.get(inode, chunk);
    if (at >= 0) {
      this.#masks[at]! |= mask;
      if (this.#deltaMasks[at] === 0) this.#deltaChunks.push(at);
      this.#deltaMasks[at]! |= mask;
      return;
    }
    this.#touched.set(inode, chunk, this.#masks.length);
    this.#deltaChunks.push(this.#masks.length);
    this.#inodes.push(inode);
    this.#chunks.push(chunk);
    this.#masks.push(mask);
    this.#deltaMasks.push(mask);
  }

  /** Changes a named record; undefined deletes it. */
  putMeta(name: string, value: Uint8Array | undefined): void {
    this.memtable.putMeta(name, value);
    this.metas.set(name, value);
    this.#deltaMetas.add(name);
  }

  /** As `putMeta`, of what the journal need not be told. */
  putOwnMeta(name: string, value: Uint8Array): void {
    this.memtable.putMeta(name, value);
    this.metas.set(name, value);
  }

  /** The next delta is all that the segment holds: whatever the journal was told is void. */
  resetDelta(): void {
    this.#deltaChunks = Array.from(this.#masks.keys());
    for (const at of this.#deltaChunks) this.#deltaMasks[at] = this.#masks[at]!;
    this.#deltaMetas = new Set(this.metas.keys());
  }

  /** Something changed since the last delta was taken. */
  get hasDelta(): boolean {
    return this.#deltaChunks.length > 0 || this.#deltaMetas.size > 0;
  }

  /** What changed since the last one was taken. */
  takeDelta(): SegmentDelta {
    const touched = this.#deltaChunks;
    const chunks = this.#encode(touched, this.#deltaMasks);
    const blocks: number[] = [];
    for (const at of touched) {
      this.#blocksOf(at, this.#deltaMasks[at]!, blocks);
      this.#deltaMasks[at] = 0;
    }
    blocks.sort((a, b) => a - b);
    const metas = [...this.#deltaMetas].map((name) => [name, this.metas.get(name)] as const);
    this.#deltaChunks = [];
    this.#deltaMetas = new Set();
    return { metas, chunks, blocks };
  }

  /** The arena's blocks that the blocks of `mask` in a touched chunk lie in. */
  #blocksOf(at: number, mask: number, blocks: number[]): void {
    const slot = this.memtable.find(this.#inodes[at]!, this.#chunks[at]!);
    const page = this.memtable.page(slot);
    const mapAt = this.memtable.mapAt(slot);
    for (let block = 0; block < CHUNK_BLOCKS; block++) {
      if ((mask & (1 << block)) === 0) continue;
      const pointer = page[mapAt + block]!;
      if (pointer >= POINTER_MIN) blocks.push(blockOf(pointer));
    }
  }

  /**
   * The chunk part of the segment's commit record (see format/records.ts), from the memtable's
   * present state.
   */
  encodeChunks(): Uint8Array {
    return this.#encode(Array.from(this.#masks.keys()), this.#masks);
  }

  #encode(touched: readonly number[], masks: readonly number[]): Uint8Array {
    const order = [...touched];
    const inodes = this.#inodes;
    const chunks = this.#chunks;
    order.sort((a, b) => inodes[a]! - inodes[b]! || chunks[a]! - chunks[b]!);
    const out = new ByteWriter(64 + order.length * 8);
    let inodeCount = 0;
    for (let i = 0; i < order.length; i++) {
      if (i === 0 || inodes[order[i]!] !== inodes[order[i - 1]!]) inodeCount += 1;
    }
    out.varint(inodeCount);
    let i = 0;
    while (i < order.length) {
      const inode = inodes[order[i]!]!;
      let end = i;
      while (end < order.length && inodes[order[end]!] === inode) end += 1;
      out.varint(inode);
      out.varint(end - i);
      let previous = 0;
      for (; i < end; i++) {
        const index = order[i]!;
        const chunk = chunks[index]!;
        out.varint(chunk - previous);
        previous = chunk;
        const slot = this.memtable.find(inode, chunk);
        const page = this.memtable.page(slot);
        encodeBlockMap(out, page, this.memtable.mapAt(slot), this.id, masks[index]!);
      }
    }
    return out.finish();
  }
}

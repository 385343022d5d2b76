// A log segment while its plaintext is in memory: open (filling), then sealed and uploaded, then
// dropped.
//
// Blocks are appended to the arena in arrival order; a block that is written again while its
// segment is open is written in place. Which blocks of which chunks the segment changed is kept as
// one 32-bit mask per chunk: when it closes, the memtable holds exactly the state that its records
// must carry.

import { ByteWriter } from '../../base/bytes.ts';
import { PairMap } from '../../base/pair-map.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { Arena } from './arena.ts';

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
      return;
    }
    this.#touched.set(inode, chunk, this.#masks.length);
    this.#inodes.push(inode);
    this.#chunks.push(chunk);
    this.#masks.push(mask);
  }

  /**
   * The chunk part of the segment's commit record (see format/records.ts), from the memtable's
   * present state.
   */
  encodeChunks(): Uint8Array {
    const order = Array.from(this.#masks.keys());
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
        encodeBlockMap(out, page, this.memtable.mapAt(slot), this.id, this.#masks[index]!);
      }
    }
    return out.finish();
  }
}

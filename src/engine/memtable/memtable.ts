// The newest layer of the tree: block maps, small named records and frame tables that no table
// holds yet.
//
// Block maps lie 1024 to a page of one Float64Array each, found through a PairMap (inode, chunk) →
// slot: no object per chunk, memory that can be counted, and all of it gone at once when the
// memtable has been flushed.

import { PairMap } from '../../base/pair-map.ts';
import { frameTableBytes, type FrameTable } from '../format/frame-table.ts';
import { ABSENT, CHUNK_BLOCKS, type BlockMap } from '../format/pointer.ts';

const PAGE_SLOTS = 1024;
const PAGE_SHIFT = 10;
const PAGE_MASK = PAGE_SLOTS - 1;
const SLOT_BYTES = CHUNK_BLOCKS * 8;
/** 8 MiB: what one memtable fills. */
const POOL_PAGES_MAX = 32;
/** What one small record costs in a JavaScript Map, besides its bytes. */
const META_OVERHEAD_BYTES = 128;

/** Pages of memtables that were flushed, for the next: megabytes that need not be collected. */
export class PagePool {
  readonly #pages: BlockMap[] = [];

  take(): BlockMap {
    const page = this.#pages.pop();
    if (page === undefined) return new Float64Array(PAGE_SLOTS * CHUNK_BLOCKS);
    return page.fill(ABSENT);
  }

  give(pages: readonly BlockMap[]): void {
    const room = POOL_PAGES_MAX - this.#pages.length;
    for (const page of pages.slice(0, Math.max(0, room))) this.#pages.push(page);
  }
}

export class Memtable {
  readonly #pool: PagePool;
  readonly #slots = new PairMap();
  readonly #pages: BlockMap[] = [];
  #slotCount = 0;
  #looseBytes = 0;
  /** Name → value; undefined is a deletion. */
  readonly metas = new Map<string, Uint8Array | undefined>();
  readonly segments = new Map<number, FrameTable>();

  constructor(pool = new PagePool()) {
    this.#pool = pool;
  }

  /** Nobody may look at the memtable any more. */
  release(): void {
    this.#pool.give(this.#pages.splice(0));
    this.#slots.clear();
  }

  get chunkCount(): number {
    return this.#slotCount;
  }

  /** Memory held, for limits. */
  get bytes(): number {
    return (
      this.#pages.length * PAGE_SLOTS * SLOT_BYTES + this.#slots.memoryBytes + this.#looseBytes
    );
  }

  get empty(): boolean {
    return this.#slotCount === 0 && this.metas.size === 0 && this.segments.size === 0;
  }

  /** The chunk's slot, or −1. Slots stay valid for the memtable's life. */
  find(inode: number, chunk: number): number {
    return this.#slots.get(inode, chunk);
  }

  /** The chunk's slot; a new one is all absent. */
  ensure(inode: number, chunk: number): number {
    let slot = this.#slots.get(inode, chunk);
    if (slot >= 0) return slot;
    slot = this.#slotCount++;
    if (slot >>> PAGE_SHIFT === this.#pages.length) {
      this.#pages.push(this.#pool.take());
    }
    this.#slots.set(inode, chunk, slot);
    return slot;
  }

  /** The page that holds a slot's map; the map starts at `mapAt(slot)`. */
  page(slot: number): BlockMap {
    return this.#pages[slot >>> PAGE_SHIFT]!;
  }

  mapAt(slot: number): number {
    return (slot & PAGE_MASK) * CHUNK_BLOCKS;
  }

  pointer(slot: number, block: number): number {
    return this.#pages[slot >>> PAGE_SHIFT]![(slot & PAGE_MASK) * CHUNK_BLOCKS + block]!;
  }

  /** Lays the blocks of `map` that are not absent over the chunk. */
  put(inode: number, chunk: number, map: BlockMap): void {
    const slot = this.ensure(inode, chunk);
    const page = this.page(slot);
    const at = this.mapAt(slot);
    for (let i = 0; i < CHUNK_BLOCKS; i++) if (map[i] !== ABSENT) page[at + i] = map[i]!;
  }

  putMeta(name: string, value: Uint8Array | undefined): void {
    const before =
      this.metas.get(name)?.length ?? (this.metas.has(name) ? 0 : -META_OVERHEAD_BYTES);
    this.#looseBytes += (value?.length ?? 0) - before;
    this.metas.set(name, value);
  }

  putSegment(segment: number, table: FrameTable): void {
    this.segments.set(segment, table);
    this.#looseBytes += frameTableBytes(table);
  }

  /**
   * All chunks as (inode, chunk) pairs in key order; `from`/`to` bound the chunks of one inode if
   * given.
   */
  sortedChunks(only?: { inode: number; from: number; to: number }): SortedChunks {
    const byInode = new Map<number, number[]>();
    this.#slots.forEach((inode, chunk) => {
      if (only !== undefined && (inode !== only.inode || chunk < only.from || chunk >= only.to)) {
        return;
      }
      const list = byInode.get(inode);
      if (list === undefined) byInode.set(inode, [chunk]);
      else list.push(chunk);
    });
    const inodes = [...byInode.keys()].sort((a, b) => a - b);
    return inodes.map((inode) => [inode, Float64Array.from(byInode.get(inode)!).sort()] as const);
  }
}

export type SortedChunks = readonly (readonly [inode: number, chunks: Float64Array])[];

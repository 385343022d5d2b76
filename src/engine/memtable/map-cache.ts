// Block maps as the tables have them, whole: what lies under the memtables. A chunk that is in here
// needs no table to be read. Slots lie in pages like the memtable's; a full cache evicts by CLOCK.

import { PairMap } from '../../base/pair-map.ts';
import { ABSENT, CHUNK_BLOCKS, type BlockMap } from '../format/pointer.ts';

const PAGE_SLOTS = 1024;
/** A map, its key in both directions and its bit. */
export const MAP_CACHE_ENTRY_BYTES = CHUNK_BLOCKS * 8 + 16 + 40 + 1;

export class MapCache {
  readonly #capacity: number;
  readonly #slots = new PairMap();
  readonly #pages: BlockMap[] = [];
  readonly #inodes: Float64Array;
  readonly #chunks: Float64Array;
  readonly #used: Uint8Array;
  #count = 0;
  #hand = 0;

  constructor(budgetBytes: number) {
    this.#capacity = Math.max(64, Math.floor(budgetBytes / MAP_CACHE_ENTRY_BYTES));
    this.#inodes = new Float64Array(this.#capacity);
    this.#chunks = new Float64Array(this.#capacity);
    this.#used = new Uint8Array(this.#capacity);
  }

  get bytes(): number {
    return this.#count * MAP_CACHE_ENTRY_BYTES;
  }

  /** The chunk's slot, or −1. A slot is valid until the next `put`. */
  find(inode: number, chunk: number): number {
    const slot = this.#slots.get(inode, chunk);
    if (slot >= 0) this.#used[slot] = 1;
    return slot;
  }

  pointer(slot: number, block: number): number {
    return this.#pages[Math.floor(slot / PAGE_SLOTS)]![(slot % PAGE_SLOTS) * CHUNK_BLOCKS + block]!;
  }

  /** Stores a whole map: no block of it is absent. */
  put(inode: number, chunk: number, map: BlockMap): void {
    let slot = this.#slots.get(inode, chunk);
    if (slot < 0) {
      slot = this.#count < this.#capacity ? this.#count++ : this.#evict();
      if (Math.floor(slot / PAGE_SLOTS) === this.#pages.length) {
        this.#pages.push(new Float64Array(PAGE_SLOTS * CHUNK_BLOCKS));
      }
      this.#slots.set(inode, chunk, slot);
      this.#inodes[slot] = inode;
      this.#chunks[slot] = chunk;
    }
    this.#used[slot] = 1;
    this.#pages[Math.floor(slot / PAGE_SLOTS)]!.set(map, (slot % PAGE_SLOTS) * CHUNK_BLOCKS);
  }

  /** Lays a newer partial map over the chunk, if the cache has it. */
  overlay(inode: number, chunk: number, map: BlockMap, mapAt: number): void {
    const slot = this.#slots.get(inode, chunk);
    if (slot < 0) return;
    const page = this.#pages[Math.floor(slot / PAGE_SLOTS)]!;
    const at = (slot % PAGE_SLOTS) * CHUNK_BLOCKS;
    for (let i = 0; i < CHUNK_BLOCKS; i++) {
      const pointer = map[mapAt + i]!;
      if (pointer !== ABSENT) page[at + i] = pointer;
    }
  }

  clear(): void {
    this.#slots.clear();
    this.#count = 0;
    this.#hand = 0;
  }

  #evict(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = (this.#hand + 1) % this.#capacity;
      if (this.#used[slot] === 0) {
        this.#slots.delete(this.#inodes[slot]!, this.#chunks[slot]!);
        return slot;
      }
      this.#used[slot] = 0;
    }
  }
}

// Decoded table blocks and tails in memory, under a budget of bytes. Keyed by (table id, slot):
// slot 0 is the table's tail (filter and index), slot i + 1 its block i.
//
// Replacement is CLOCK: a hit sets a mark, the hand clears marks and takes the first item without
// one. New items come without a mark, so that what is read once goes before what is read twice.
//
// Invariants: bytes ≤ budgetBytes at all times; an item that does not fit is used by its reader and
// not kept; loads of one slot are shared; a failed load leaves nothing behind; a dropped table is
// never cached again.

import { assert } from '../../base/assert.ts';
import type { Block } from './block.ts';
import type { TableTail } from './tail.ts';

/** What an item costs beside its bytes: objects, map entry, ring entry. */
const ITEM_OVERHEAD_BYTES = 256;

interface Item {
  readonly table: TableSlots;
  readonly slot: number;
  readonly content: Block | TableTail;
  readonly cost: number;
  marked: boolean;
  ringIndex: number;
}

export interface BlockCacheStats {
  readonly bytes: number;
  readonly items: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

export class BlockCache {
  readonly budgetBytes: number;
  readonly #tables = new Map<number, TableSlots>();
  readonly #ring: Item[] = [];
  #hand = 0;
  #bytes = 0;
  #evictions = 0;
  /** Counted by the tables' slots. */
  hits = 0;
  misses = 0;

  constructor(budgetBytes: number) {
    assert(budgetBytes >= 0, 'a budget is not negative');
    this.budgetBytes = budgetBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  stats(): BlockCacheStats {
    const { hits, misses } = this;
    const items = this.#ring.length;
    return { bytes: this.#bytes, items, hits, misses, evictions: this.#evictions };
  }

  /** The slots of a table: the same object for every reader of it, until the table is dropped. */
  slotsOf(tableId: number): TableSlots {
    let slots = this.#tables.get(tableId);
    if (slots === undefined) {
      slots = new TableSlots(this, tableId);
      this.#tables.set(tableId, slots);
    }
    return slots;
  }

  /** Forgets a table that no root names any more. Readers that still hold it go on, uncached. */
  drop(tableId: number): void {
    const slots = this.#tables.get(tableId);
    if (slots === undefined) return;
    this.#tables.delete(tableId);
    for (const item of slots.close()) this.#remove(item);
  }

  /** For TableSlots only. */
  admit(table: TableSlots, slot: number, content: Block | TableTail): Item | undefined {
    const cost = content.byteLength + ITEM_OVERHEAD_BYTES;
    if (cost > this.budgetBytes) return undefined;
    while (this.#bytes + cost > this.budgetBytes) this.#evictOne();
    const item: Item = { table, slot, content, cost, marked: false, ringIndex: this.#ring.length };
    this.#ring.push(item);
    this.#bytes += cost;
    return item;
  }

  #evictOne(): void {
    for (;;) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const item = this.#ring[this.#hand]!;
      if (!item.marked) {
        item.table.forget(item.slot);
        this.#remove(item);
        this.#evictions += 1;
        return;
      }
      item.marked = false;
      this.#hand += 1;
    }
  }

  #remove(item: Item): void {
    const last = this.#ring.pop()!;
    if (last !== item) {
      this.#ring[item.ringIndex] = last;
      last.ringIndex = item.ringIndex;
    }
    this.#bytes -= item.cost;
  }
}

const TAIL_SLOT = 0;

/** One table's part of the cache. */
export class TableSlots {
  readonly tableId: number;
  readonly #cache: BlockCache;
  readonly #items = new Map<number, Item>();
  readonly #loadingBlocks = new Map<number, Promise<Block>>();
  #loadingTail: Promise<TableTail> | undefined;
  #closed = false;

  constructor(cache: BlockCache, tableId: number) {
    this.#cache = cache;
    this.tableId = tableId;
  }

  tail(): TableTail | undefined {
    // Slot 0 never holds anything else.
    return this.#hit(TAIL_SLOT) as TableTail | undefined;
  }

  block(index: number): Block | undefined {
    // Slots above 0 never hold anything else.
    return this.#hit(index + 1) as Block | undefined;
  }

  /** Like `block`, but leaves no trace: for scans that should not change what is kept. */
  peekBlock(index: number): Block | undefined {
    return this.#items.get(index + 1)?.content as Block | undefined;
  }

  peekTail(): TableTail | undefined {
    return this.#items.get(TAIL_SLOT)?.content as TableTail | undefined;
  }

  keepTail(tail: TableTail): void {
    this.#keep(TAIL_SLOT, tail);
  }

  /**
   * `block` must own its bytes: a view of something larger would hold more than it is charged for.
   */
  keepBlock(index: number, block: Block): void {
    this.#keep(index + 1, block);
  }

  /** Shares one load among all who ask while it is under way, and keeps what it gives. */
  loadTail(load: () => Promise<TableTail>): Promise<TableTail> {
    this.#loadingTail ??= load().then(
      (tail) => {
        this.#loadingTail = undefined;
        this.keepTail(tail);
        return tail;
      },
      (error: unknown) => {
        this.#loadingTail = undefined;
        throw error;
      },
    );
    return this.#loadingTail;
  }

  /** As `loadTail`. */
  loadBlock(index: number, load: () => Promise<Block>): Promise<Block> {
    const underWay = this.#loadingBlocks.get(index);
    if (underWay !== undefined) return underWay;
    const loading = load().then(
      (block) => {
        this.#loadingBlocks.delete(index);
        this.keepBlock(index, block);
        return block;
      },
      (error: unknown) => {
        this.#loadingBlocks.delete(index);
        throw error;
      },
    );
    this.#loadingBlocks.set(index, loading);
    return loading;
  }

  /** For BlockCache only. */
  forget(slot: number): void {
    this.#items.delete(slot);
  }

  /** For BlockCache only: keeps nothing from now on, gives what was kept. */
  close(): readonly Item[] {
    const items = [...this.#items.values()];
    this.#items.clear();
    this.#closed = true;
    return items;
  }

  #hit(slot: number): Block | TableTail | undefined {
    const item = this.#items.get(slot);
    if (item === undefined) {
      this.#cache.misses += 1;
      return undefined;
    }
    this.#cache.hits += 1;
    item.marked = true;
    return item.content;
  }

  #keep(slot: number, content: Block | TableTail): void {
    if (this.#closed || this.#items.has(slot)) return;
    const item = this.#cache.admit(this, slot, content);
    if (item !== undefined) this.#items.set(slot, item);
  }
}

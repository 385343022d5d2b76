// Walks the entries of one table within key bounds.
//
//   cached block → decode
//   else a piece → one GET of up to settings.scanBytes of adjacent uncached blocks → decode
//
// With `readAhead` the next piece is fetched while the present one is consumed: two pieces in
// memory, never more. A scan that does not `keep` leaves the cache as it found it, marks included.

import { compareBytes } from '../../base/bytes.ts';
import type { RequestOptions } from '../../objectstore/object-store.ts';
import { BlockCursor } from './block-cursor.ts';
import type { Block } from './block.ts';
import type { Cursor } from './cursor.ts';
import type { Maybe } from '../../base/maybe.ts';
import { pieceEnd } from './reader.ts';
import type { Table } from './reader.ts';
import type { TableTail } from './tail.ts';

export interface ScanOptions extends RequestOptions {
  /**
   * First key, inclusive; undefined: from the start. Borrowed for the cursor's life, as is `to`.
   */
  readonly from?: Uint8Array | undefined;
  /** Where the scan ends, exclusive; undefined: at the end. */
  readonly to?: Uint8Array | undefined;
  /** Cache what is read. */
  readonly keep: boolean;
  /** Fetch the next piece before it is asked for: when the whole range will be consumed. */
  readonly readAhead: boolean;
}

/** The scan of a compaction: everything, ahead of time, past the cache. */
export function compactionScan(signal?: AbortSignal): ScanOptions {
  const options: ScanOptions = { cause: 'compaction', keep: false, readAhead: true };
  return signal === undefined ? options : { ...options, signal };
}

interface Piece {
  readonly first: number;
  readonly blocks: readonly Block[];
}

/** A piece may unpack to so many times its sealed size before it is cut shorter. */
const PLAIN_PER_SEALED_MAX = 4;

export class TableCursor implements Cursor {
  readonly #table: Table;
  readonly #options: ScanOptions;
  readonly #inner = new BlockCursor();
  #tail: TableTail | undefined;
  #piece: Piece = { first: 0, blocks: [] };
  #pieceAt = 0;
  #ahead: Promise<Piece> | undefined;
  /** The block that follows the piece, and those that are being fetched. */
  #nextBlock = 0;
  #endBlock = 0;
  #entered = false;
  #inLastBlock = false;
  #done = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(table: Table, options: ScanOptions) {
    this.#table = table;
    this.#options = options;
  }

  get key(): Uint8Array {
    return this.#inner.key;
  }

  get value(): Uint8Array {
    return this.#inner.value;
  }

  /** Starts to fetch what the first `next` will need. */
  prepare(): void {
    if (this.#tail === undefined && this.#ahead === undefined) this.#fetchAhead();
  }

  next(): Maybe<boolean> {
    if (this.#done) return false;
    if (this.#inner.next()) return this.#within();
    return this.#enterNext();
  }

  #within(): boolean {
    const { to } = this.#options;
    if (!this.#inLastBlock || to === undefined || compareBytes(this.#inner.key, to) < 0)
      return true;
    this.#done = true;
    return false;
  }

  #enterNext(): Maybe<boolean> {
    for (;;) {
      const block = this.#takeBlock();
      if (block === undefined) return this.#done ? false : this.#waitAndEnter();
      const { from } = this.#options;
      if (this.#entered || from === undefined) this.#inner.enter(block);
      else this.#inner.seek(block, from);
      this.#entered = true;
      if (this.#inner.next()) return this.#within();
    }
  }

  /** The next block if it is at hand; sets `#inLastBlock`, or `#done` past the last. */
  #takeBlock(): Block | undefined {
    if (this.#pieceAt < this.#piece.blocks.length) {
      const at = this.#pieceAt++;
      this.#inLastBlock = this.#piece.first + at + 1 === this.#endBlock;
      return this.#piece.blocks[at];
    }
    if (this.#failure !== undefined || this.#ahead !== undefined) return undefined;
    if (this.#tail === undefined) {
      const tail = this.#cachedTail();
      if (tail === undefined) return undefined;
      this.#useTail(tail);
    }
    if (this.#nextBlock === this.#endBlock) {
      this.#done = true;
      return undefined;
    }
    const block = this.#cachedBlock(this.#nextBlock);
    if (block === undefined) return undefined;
    this.#nextBlock += 1;
    this.#inLastBlock = this.#nextBlock === this.#endBlock;
    return block;
  }

  #cachedTail(): TableTail | undefined {
    const { slots } = this.#table;
    return this.#options.keep ? slots.tail() : slots.peekTail();
  }

  #cachedBlock(index: number): Block | undefined {
    const { slots } = this.#table;
    return this.#options.keep ? slots.block(index) : slots.peekBlock(index);
  }

  #useTail(tail: TableTail): void {
    const { from, to } = this.#options;
    this.#tail = tail;
    this.#nextBlock = from === undefined ? 0 : tail.index.find(from);
    this.#endBlock = to === undefined ? tail.index.blockCount : tail.index.findEnd(to);
    // Bounds that lie the wrong way round are an empty range.
    this.#endBlock = Math.max(this.#endBlock, this.#nextBlock);
  }

  async #waitAndEnter(): Promise<boolean> {
    // A failure sticks: to go on behind it would leave out entries.
    if (this.#failure !== undefined) throw this.#failure.error;
    const coming = this.#ahead ?? this.#fetchPiece();
    this.#ahead = undefined;
    try {
      this.#piece = await coming;
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
    this.#pieceAt = 0;
    // An empty piece says that the next block is cached: it is taken from there before anything is
    // fetched.
    const more = this.#piece.blocks.length > 0 && this.#nextBlock < this.#endBlock;
    if (this.#options.readAhead && more) this.#fetchAhead();
    return this.#enterNext();
  }

  #fetchAhead(): void {
    const ahead = this.#fetchPiece();
    // It is reported where the piece is awaited; a cursor that is given up awaits nothing.
    ahead.catch(() => {});
    this.#ahead = ahead;
  }

  /**
   * Fetches the uncached blocks from `#nextBlock` on; none when the next one is cached after all.
   */
  async #fetchPiece(): Promise<Piece> {
    const table = this.#table;
    const options = this.#options;
    if (this.#tail === undefined) {
      const tail = this.#cachedTail() ?? (await this.#loadTail());
      this.#useTail(tail);
    }
    const tail = this.#tail!;
    const first = this.#nextBlock;
    const { slots } = table;
    let end = first;
    while (end < this.#endBlock && slots.peekBlock(end) === undefined) end += 1;
    if (end === first) return { first, blocks: [] };
    const { scanBytes } = table.settings;
    end = pieceEnd(tail, first, end, scanBytes, scanBytes * PLAIN_PER_SEALED_MAX);
    this.#nextBlock = end;
    const blocks = await table.readBlocks(tail, first, end, options);
    if (options.keep) {
      for (const [i, block] of blocks.entries()) table.keepCopy(first + i, block);
    }
    return { first, blocks };
  }

  #loadTail(): Promise<TableTail> {
    const { slots } = this.#table;
    const read = (): Promise<TableTail> => this.#table.readTail(this.#options);
    if (!this.#options.keep) return read();
    if (this.#options.signal === undefined) return slots.loadTail(read);
    // A load that others can join must not end with this scan's signal.
    return read().then((tail) => {
      slots.keepTail(tail);
      return tail;
    });
  }
}

// One slab: a file that is filled from front to back, and what memory knows of it.
//
//   cells   Uint32Array   the entries, as they lie in the directory (slab-format.ts)
//   reads   Uint8Array    how often each entry was read since it came here, up to READS_MAX
//
// Invariants:
//   1. `used` never passes the point from which on the directory would not fit the slab.
//   2. Entries are in the order of their offsets.

import { assert } from '../../base/assert.ts';
import type { DiskFile } from './disk.ts';
import {
  CELL_BYTES,
  CELL_WORDS,
  ENTRY_LENGTH,
  ENTRY_OFFSET,
  type SlabHeader,
} from './slab-format.ts';
import type { Layout } from './layout.ts';

const READS_MAX = 3;
const CELLS_MIN = 16;

export class Slab {
  readonly slot: number;
  readonly header: SlabHeader;
  readonly file: DiskFile;
  /** Entries. */
  count = 0;
  /** Bytes of header and records: where the next record goes. */
  used = CELL_BYTES;
  #cells: Uint32Array = new Uint32Array(CELLS_MIN * CELL_WORDS);
  #reads: Uint8Array = new Uint8Array(CELLS_MIN);

  constructor(slot: number, header: SlabHeader, file: DiskFile) {
    this.slot = slot;
    this.header = header;
    this.file = file;
  }

  get memoryBytes(): number {
    return this.#cells.byteLength + this.#reads.byteLength;
  }

  /** Bytes of the file when it is closed: with its directory. */
  get closedBytes(): number {
    return this.used + (this.count + 1) * CELL_BYTES;
  }

  /** The word of an entry: one of ENTRY_LOW, … */
  word(entry: number, word: number): number {
    return this.#cells[entry * CELL_WORDS + word]!;
  }

  offset(entry: number): number {
    return this.word(entry, ENTRY_OFFSET);
  }

  length(entry: number): number {
    return this.word(entry, ENTRY_LENGTH);
  }

  /** Borrowed: the cells of all entries. */
  entries(): Uint32Array {
    return this.#cells.subarray(0, this.count * CELL_WORDS);
  }

  reads(entry: number): number {
    return this.#reads[entry]!;
  }

  touch(entry: number): void {
    const reads = this.#reads[entry]!;
    if (reads < READS_MAX) this.#reads[entry] = reads + 1;
  }

  setReads(entry: number, reads: number): void {
    this.#reads[entry] = reads;
  }

  /** Whether a record of `entries` with `payloadBytes` fits, and the directory after it. */
  fits(entries: number, payloadBytes: number, layout: Layout): boolean {
    const record = (1 + entries) * CELL_BYTES + payloadBytes;
    return (
      this.count + entries <= layout.entriesMax &&
      this.closedBytes + record + entries * CELL_BYTES <= layout.slabBytes
    );
  }

  /** Takes over the entries of a record (or of a directory) that ends at `used`. */
  append(entries: Uint32Array, used: number): void {
    assert(entries.length % CELL_WORDS === 0, 'entries are whole cells');
    const count = this.count + entries.length / CELL_WORDS;
    if (count > this.#reads.length) this.#resize(Math.max(count, this.#reads.length * 2));
    this.#cells.set(entries, this.count * CELL_WORDS);
    this.count = count;
    this.used = used;
  }

  /** Gives back the memory of entries that will not come: a sealed slab takes no more. */
  trim(): void {
    if (this.#reads.length > this.count) this.#resize(this.count);
  }

  #resize(count: number): void {
    const kept = Math.min(count, this.#reads.length);
    const cells = new Uint32Array(count * CELL_WORDS);
    cells.set(this.#cells.subarray(0, kept * CELL_WORDS));
    const reads = new Uint8Array(count);
    reads.set(this.#reads.subarray(0, kept));
    this.#cells = cells;
    this.#reads = reads;
  }
}

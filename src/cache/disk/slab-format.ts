// What lies in a slab file, in cells of six u32 (docs/formats/disk-cache.md).
//
//   slab    = header │ record … record │ directory │ trailer        the last two once it is full
//   record  = head │ entry × count │ sealed bytes of each entry
//   header  = magic, version and kind, generation (2), sequence, sum of the five
//   head    = magic, generation (2), count, sealed bytes, sum of the five and the entries
//   entry   = salt (2), frame, offset in the slab, length, sum of the sealed bytes
//   trailer = magic, generation (2), count, offset of the directory, sum of the five and it
//
// A directory is the entries of all records, in order: what memory holds of a slab, byte for byte.
// Sums are CRC-32: they find damage, not malice; what is read is authenticated by whoever unseals.
// Cells are in the byte order of the machine: a cache does not travel, and where it did, the magic
// is not found.
//
// Invariant: bytes of another generation, or torn, or moved, are never taken for a record: the
// generation is random for each filling of a slab, and an entry names its own place.

import { crc32 } from 'node:zlib';

export const CELL_WORDS = 6;
export const CELL_BYTES = CELL_WORDS * 4;
const SUM = 5;

const MAGIC_SLAB = 0x53_44_56_56;
const MAGIC_RECORD = 0x52_44_56_56;
const MAGIC_TRAILER = 0x54_44_56_56;
const VERSION = 1;

/** Words of an entry. */
export const ENTRY_LOW = 0;
export const ENTRY_HIGH = 1;
export const ENTRY_FRAME = 2;
export const ENTRY_OFFSET = 3;
export const ENTRY_LENGTH = 4;
export const ENTRY_SUM = 5;

/** Entries of one record at most: each is a part of one vectored write. */
export const RECORD_ENTRIES_MAX = 256;
const NAME_DIGITS = 4;

/** Newcomers, or those that were read again. The numbers are stored. */
export const PROBATION = 1;
export const MAIN = 2;
export type SlabKind = typeof PROBATION | typeof MAIN;

export interface SlabHeader {
  readonly kind: SlabKind;
  /** Slabs are older or younger by it. */
  readonly sequence: number;
  readonly generationLow: number;
  readonly generationHigh: number;
}

/** The first and the last word of a random salt, folded over the others: enough to tell apart. */
export function saltLow(salt: Uint8Array): number {
  return (wordAt(salt, 0) ^ wordAt(salt, 8)) >>> 0;
}

export function saltHigh(salt: Uint8Array): number {
  return (wordAt(salt, 4) ^ wordAt(salt, 12)) >>> 0;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

export function sumOf(bytes: Uint8Array): number {
  return crc32(bytes);
}

export function bytesOf(cells: Uint32Array): Uint8Array {
  return new Uint8Array(cells.buffer, cells.byteOffset, cells.byteLength);
}

/** The cells in `bytes`, which may lie anywhere: an owned copy. */
export function cellsFrom(bytes: Uint8Array): Uint32Array {
  const cells = new Uint32Array(Math.floor(bytes.length / CELL_BYTES) * CELL_WORDS);
  bytesOf(cells).set(bytes.subarray(0, cells.byteLength));
  return cells;
}

export function encodeHeader(header: SlabHeader): Uint32Array {
  const cell = new Uint32Array(CELL_WORDS);
  const { kind, sequence, generationLow, generationHigh } = header;
  cell.set([MAGIC_SLAB, VERSION | (kind << 16), generationLow, generationHigh, sequence]);
  cell[SUM] = sumCell(cell, 0);
  return cell;
}

/** Undefined for anything but a header of this version. */
export function decodeHeader(cell: Uint32Array): SlabHeader | undefined {
  if (cell.length < CELL_WORDS || cell[0] !== MAGIC_SLAB) return undefined;
  if (cell[SUM] !== sumCell(cell, 0)) return undefined;
  const kind = cell[1]! >>> 16;
  if ((cell[1]! & 0xffff) !== VERSION || (kind !== PROBATION && kind !== MAIN)) return undefined;
  return { kind, sequence: cell[4]!, generationLow: cell[2]!, generationHigh: cell[3]! };
}

/** Fills the head of a record: `cells` is the head and the entries, which are there already. */
export function finishRecord(cells: Uint32Array, header: SlabHeader, payloadBytes: number): void {
  cells[0] = MAGIC_RECORD;
  cells[1] = header.generationLow;
  cells[2] = header.generationHigh;
  cells[3] = cells.length / CELL_WORDS - 1;
  cells[4] = payloadBytes;
  cells[SUM] = sumCell(cells, sumOf(bytesOf(cells.subarray(CELL_WORDS))));
}

/** How many entries the record that begins with `head` says it has, or -1 if it is none. */
export function recordCount(head: Uint32Array, header: SlabHeader): number {
  if (head.length < CELL_WORDS || head[0] !== MAGIC_RECORD) return -1;
  if (head[1] !== header.generationLow || head[2] !== header.generationHigh) return -1;
  return head[3]!;
}

/**
 * Whether head and entries are whole, and the entries lie side by side behind them, from byte
 * `offset` of the slab on.
 */
export function isRecord(cells: Uint32Array, offset: number): boolean {
  if (cells[SUM] !== sumCell(cells, sumOf(bytesOf(cells.subarray(CELL_WORDS))))) return false;
  let at = offset + cells.byteLength;
  for (let word = CELL_WORDS; word < cells.length; word += CELL_WORDS) {
    if (cells[word + ENTRY_OFFSET] !== at) return false;
    at += cells[word + ENTRY_LENGTH]!;
  }
  return at === offset + cells.byteLength + cells[4]!;
}

/** Directory and trailer, as one: `entries` are those of the whole slab. */
export function encodeDirectory(
  entries: Uint32Array,
  header: SlabHeader,
  offset: number,
): Uint32Array {
  const cells = new Uint32Array(entries.length + CELL_WORDS);
  cells.set(entries);
  const trailer = cells.subarray(entries.length);
  const count = entries.length / CELL_WORDS;
  trailer.set([MAGIC_TRAILER, header.generationLow, header.generationHigh, count, offset]);
  trailer[SUM] = sumCell(trailer, sumOf(bytesOf(entries)));
  return cells;
}

/** The count of entries that a trailer at the end of a file of `fileBytes` announces, or -1. */
export function trailerCount(trailer: Uint32Array, header: SlabHeader, fileBytes: number): number {
  if (trailer.length < CELL_WORDS || trailer[0] !== MAGIC_TRAILER) return -1;
  if (trailer[1] !== header.generationLow || trailer[2] !== header.generationHigh) return -1;
  return trailer[4]! + (trailer[3]! + 1) * CELL_BYTES === fileBytes ? trailer[3]! : -1;
}

/** Whether directory and trailer are whole, and the entries lie before them, in order. */
export function isDirectory(cells: Uint32Array): boolean {
  const entries = cells.subarray(0, cells.length - CELL_WORDS);
  const trailer = cells.subarray(entries.length);
  if (trailer[SUM] !== sumCell(trailer, sumOf(bytesOf(entries)))) return false;
  let end = CELL_BYTES;
  for (let word = 0; word < entries.length; word += CELL_WORDS) {
    if (entries[word + ENTRY_OFFSET]! < end) return false;
    end = entries[word + ENTRY_OFFSET]! + entries[word + ENTRY_LENGTH]!;
  }
  return end <= trailer[4]!;
}

/** The sum of a cell's first five words, after `before`, the sum of what belongs to it. */
function sumCell(cell: Uint32Array, before: number): number {
  return crc32(bytesOf(cell.subarray(0, SUM)), before);
}

export function slabName(slot: number): string {
  return `slab-${String(slot).padStart(NAME_DIGITS, '0')}`;
}

/** The slot of a file's name, or -1 for a file that is not ours. */
export function slotOf(name: string): number {
  const digits = /^slab-(\d+)$/.exec(name)?.[1];
  return digits !== undefined && slabName(Number(digits)) === name ? Number(digits) : -1;
}

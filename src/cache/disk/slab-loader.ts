// What a cache finds in its directory when it starts.
//
// 1. A file that cannot be one of its slabs (of another layout, too long) is removed.
// 2. A slab that ends in a whole directory is loaded by one read of its end.
// 3. Of any other, the records are read from the front, heads only, up to the first that is not
//    whole. That is a slab that was being filled when the process was killed, or a damaged one.
// 4. A file without a header of this version is removed.
//
// The sealed bytes themselves are not looked at: their sums are checked when they are read.

import { isStorageError } from '../../base/errors.ts';
import type { Disk, DiskFile } from './disk.ts';
import type { Layout } from './layout.ts';
import { Slab } from './slab.ts';
import {
  CELL_BYTES,
  CELL_WORDS,
  cellsFrom,
  decodeHeader,
  isDirectory,
  isRecord,
  RECORD_ENTRIES_MAX,
  recordCount,
  type SlabHeader,
  slotOf,
  trailerCount,
} from './slab-format.ts';

/** Holds the directory of a slab of 64 MiB whose frames have 24 KiB on average. */
const TAIL_BYTES = 64 * 1024;
/** Holds the head and the entries of most records. */
const HEAD_BYTES = 1024;
/** Slabs that are read at once. */
const PARALLEL = 4;

/** The slabs in `directory`. Throws when the disk does not even let bad ones be removed. */
export async function loadSlabs(disk: Disk, directory: string, layout: Layout): Promise<Slab[]> {
  const slabs: Slab[] = [];
  const names = (await disk.list(directory)).filter((name) => slotOf(name) >= 0);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < names.length) {
      const name = names[next++]!;
      const slab = await loadSlab(disk, directory, name, layout);
      if (slab === undefined) await disk.remove(directory, name);
      else slabs.push(slab);
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: PARALLEL }, work));
  const failed = workers.find((worker) => worker.status === 'rejected');
  if (failed === undefined) return slabs;
  for (const slab of slabs) await slab.file.close();
  throw failed.reason;
}

/** Undefined for a file that is of no use. */
async function loadSlab(
  disk: Disk,
  directory: string,
  name: string,
  layout: Layout,
): Promise<Slab | undefined> {
  const slot = slotOf(name);
  if (slot >= layout.slabCount) return undefined;
  let file: DiskFile | undefined;
  try {
    file = await disk.open(directory, name);
    const slab = await readSlab(file, slot, layout);
    if (slab !== undefined) return slab;
  } catch (error) {
    // One file that cannot be read does not spoil the others.
    if (!isStorageError(error)) throw error;
  }
  await file?.close();
  return undefined;
}

async function readSlab(file: DiskFile, slot: number, layout: Layout): Promise<Slab | undefined> {
  const fileBytes = await file.size();
  if (fileBytes > layout.slabBytes) return undefined;
  const header = decodeHeader(await readCells(file, 0, CELL_BYTES));
  if (header === undefined) return undefined;
  const slab = new Slab(slot, header, file);
  if (!(await readDirectory(slab, fileBytes, layout))) {
    await scan(slab, fileBytes, layout);
    // A directory is found at the end of the file only.
    if (slab.used < fileBytes) await file.truncate(slab.used);
  }
  slab.trim();
  return slab;
}

async function readDirectory(slab: Slab, fileBytes: number, layout: Layout): Promise<boolean> {
  const tailBytes = Math.min(fileBytes, TAIL_BYTES);
  const tail = new Uint8Array(tailBytes);
  if ((await slab.file.read(tail, fileBytes - tailBytes)) < tailBytes) return false;
  const trailer = cellsFrom(tail.subarray(Math.max(0, tailBytes - CELL_BYTES)));
  const count = trailerCount(trailer, slab.header, fileBytes);
  if (count < 0 || count > layout.entriesMax) return false;
  const bytes = (count + 1) * CELL_BYTES;
  if (bytes > fileBytes) return false;
  const cells =
    bytes <= tailBytes
      ? cellsFrom(tail.subarray(tailBytes - bytes))
      : await readCells(slab.file, fileBytes - bytes, bytes);
  if (cells.byteLength !== bytes || !isDirectory(cells)) return false;
  slab.append(cells.subarray(0, count * CELL_WORDS), fileBytes - bytes);
  return true;
}

async function scan(slab: Slab, fileBytes: number, layout: Layout): Promise<void> {
  for (;;) {
    const record = await readRecord(slab.file, slab.header, slab.used);
    if (record === undefined) return;
    const end = slab.used + record.byteLength + record[4]!;
    const entries = record.length / CELL_WORDS - 1;
    if (end > fileBytes || !slab.fits(entries, record[4]!, layout)) return;
    slab.append(record.subarray(CELL_WORDS), end);
  }
}

/** Head and entries of the record at `offset`, or undefined when there is none that is whole. */
async function readRecord(
  file: DiskFile,
  header: SlabHeader,
  offset: number,
): Promise<Uint32Array | undefined> {
  const start = await readCells(file, offset, HEAD_BYTES);
  const count = recordCount(start, header);
  if (count < 1 || count > RECORD_ENTRIES_MAX) return undefined;
  const words = (1 + count) * CELL_WORDS;
  const cells =
    words <= start.length ? start.slice(0, words) : await readCells(file, offset, words * 4);
  return cells.length === words && isRecord(cells, offset) ? cells : undefined;
}

/** Whole cells from `offset` on, as many as the file has of `bytes`. */
async function readCells(file: DiskFile, offset: number, bytes: number): Promise<Uint32Array> {
  const buffer = new Uint8Array(bytes);
  const count = await file.read(buffer, offset);
  return cellsFrom(buffer.subarray(0, count));
}

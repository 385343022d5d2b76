// What of a range is stored, what reads as zeroes: answers for block status and for space
// accounting.

import type { FileReader } from './file-reader.ts';
import { BLOCK_BYTES, CHUNK_BLOCKS, HOLE, POINTER_MIN } from './format/pointer.ts';
import { type Tree, UNKNOWN } from './tree.ts';

export interface FileExtent {
  readonly lengthBytes: number;
  readonly hole: boolean;
  readonly zero: boolean;
}

/** A pointer's kind, as far as an extent tells: HOLE, ZERO, or POINTER_MIN for any stored block. */
function kindOf(pointer: number): number {
  return pointer < POINTER_MIN ? pointer : POINTER_MIN;
}

/** Merges blocks into extents until enough are complete. */
class ExtentList {
  readonly extents: FileExtent[] = [];
  readonly #max: number;
  #kind = HOLE;
  #blocks = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get full(): boolean {
    return this.extents.length >= this.#max;
  }

  add(kind: number, blocks: number): void {
    if (blocks === 0 || this.full) return;
    if (kind !== this.#kind) this.close();
    this.#kind = kind;
    this.#blocks += blocks;
  }

  close(): void {
    if (this.#blocks === 0 || this.full) return;
    this.extents.push({
      lengthBytes: this.#blocks * BLOCK_BYTES,
      hole: this.#kind === HOLE,
      zero: this.#kind !== POINTER_MIN,
    });
    this.#blocks = 0;
  }
}

/**
 * Ranges up to this many blocks (8 MiB) are looked up block by block: servers ask before they read.
 */
const DIRECT_BLOCKS_MAX = 2048;

/** What memory knows of a short range; undefined when tables must be read or walked. */
export function extentsFromMemory(
  tree: Tree,
  inode: number,
  offset: number,
  lengthBytes: number,
  max: number,
): FileExtent[] | undefined {
  const first = Math.floor(offset / BLOCK_BYTES);
  const last = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
  if (last - first > DIRECT_BLOCKS_MAX) return undefined;
  const list = new ExtentList(max);
  for (let block = first; block < last && !list.full; block++) {
    const inChunk = block % CHUNK_BLOCKS;
    const pointer = tree.pointer(inode, (block - inChunk) / CHUNK_BLOCKS, inChunk);
    if (pointer === UNKNOWN) return undefined;
    list.add(kindOf(pointer), 1);
  }
  list.close();
  return trimmed(list.extents, first * BLOCK_BYTES, offset, lengthBytes);
}

/**
 * Extents that cover a prefix of `[offset, offset + lengthBytes)`, at most `max`, neighbours of one
 * kind merged. The range is widened to whole blocks for the look-up; the answer is cut to the range
 * again.
 */
export async function extentsOf(
  tree: Tree,
  reader: FileReader,
  inode: number,
  offset: number,
  lengthBytes: number,
  max: number,
): Promise<FileExtent[]> {
  const first = Math.floor(offset / BLOCK_BYTES);
  const last = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
  const list = new ExtentList(max);
  let next = first;
  const lastChunk = Math.ceil(last / CHUNK_BLOCKS);
  for await (const chunk of tree.chunksIn(inode, Math.floor(first / CHUNK_BLOCKS), lastChunk)) {
    const start = Math.max(first, chunk * CHUNK_BLOCKS);
    const end = Math.min(last, (chunk + 1) * CHUNK_BLOCKS);
    list.add(HOLE, start - next);
    for (let block = start; block < end; block++) {
      const pointer = reader.resolve(inode, block);
      list.add(kindOf(typeof pointer === 'number' ? pointer : await pointer), 1);
    }
    next = end;
    if (list.full) break;
  }
  list.add(HOLE, last - next);
  list.close();
  return trimmed(list.extents, first * BLOCK_BYTES, offset, lengthBytes);
}

/** Cuts extents that start at `from` to `[offset, offset + lengthBytes)`. */
function trimmed(
  extents: readonly FileExtent[],
  from: number,
  offset: number,
  lengthBytes: number,
): FileExtent[] {
  const out: FileExtent[] = [];
  let at = from;
  for (const extent of extents) {
    const start = Math.max(at, offset);
    const end = Math.min(at + extent.lengthBytes, offset + lengthBytes);
    if (end > start) out.push({ ...extent, lengthBytes: end - start });
    at += extent.lengthBytes;
  }
  return out;
}

/** Bytes of a file that blocks are stored for. Walks all of its chunks. */
export async function usedBytesOf(tree: Tree, reader: FileReader, inode: number): Promise<number> {
  let blocks = 0;
  for await (const chunk of tree.chunksIn(inode, 0, Infinity)) {
    for (let i = 0; i < CHUNK_BLOCKS; i++) {
      const pointer = reader.resolve(inode, chunk * CHUNK_BLOCKS + i);
      if ((typeof pointer === 'number' ? pointer : await pointer) >= POINTER_MIN) blocks += 1;
    }
  }
  return blocks * BLOCK_BYTES;
}

// Where a 4 KiB block lies, as one number:
//
//   0                        absent: this layer says nothing, look in an older one
//   1                        hole: reads as zeroes, takes no space
//   2                        zero: reads as zeroes, but asked to be allocated (NO_HOLE)
//   segment × 2^16 + block   block number `block` of the plaintext of log segment `segment` (≥ 1)
//
// Segments are numbered by the writer, 1, 2, 3, … over the life of a branch; the frame table of a
// segment says which log object holds it. 2^37 segments and 2^16 blocks in each stay within 2^53.

export const BLOCK_BYTES = 4096;
/** Blocks in a chunk: 128 KiB of a file's address space, one key of the tree. */
export const CHUNK_BLOCKS = 32;
export const CHUNK_BYTES = BLOCK_BYTES * CHUNK_BLOCKS;

export const ABSENT = 0;
export const HOLE = 1;
export const ZERO = 2;

/** Bound of blocks per segment, and the multiplier of the segment number. */
export const SEGMENT_BLOCKS_LIMIT = 65536;
/** Bound of segment numbers: a pointer stays within 2^53. */
export const SEGMENTS_LIMIT = 2 ** 37;
/** The smallest pointer that names a stored block. */
export const POINTER_MIN = SEGMENT_BLOCKS_LIMIT;

export function pointerTo(segment: number, block: number): number {
  return segment * SEGMENT_BLOCKS_LIMIT + block;
}

export function segmentOf(pointer: number): number {
  return Math.floor(pointer / SEGMENT_BLOCKS_LIMIT);
}

export function blockOf(pointer: number): number {
  return pointer % SEGMENT_BLOCKS_LIMIT;
}

/** Block maps are 32 pointers, one per block of the chunk. */
export type BlockMap = Float64Array;

export function createBlockMap(): BlockMap {
  return new Float64Array(CHUNK_BLOCKS);
}

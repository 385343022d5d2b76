// The stored form of a (partial) block map, in tables and in log records alike: runs that cover
// blocks 0, 1, 2, …
//
//   run  = one byte: kind (high 3 bits) | run length − 1 (low 5 bits), then by kind
//          0 absent, 1 hole, 2 zero   nothing
//          3 pointer                  varint segment, varint block
//          4 pointer                  into the segment of the pointer run before:
//                                     varint zigzag(block − end of that run)
//
// The blocks of a pointer run lie one after another. Trailing absent blocks are not written. At
// most 32 blocks, closed by 0xff.
//
// A log record's maps point mostly into the record's own segment, so the coder starts from a given
// segment (`baseSegment`) as if a pointer run had just ended at its block 0; tables start from none
// (0).

import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import {
  ABSENT,
  blockOf,
  CHUNK_BLOCKS,
  HOLE,
  POINTER_MIN,
  pointerTo,
  SEGMENT_BLOCKS_LIMIT,
  segmentOf,
  SEGMENTS_LIMIT,
  ZERO,
  type BlockMap,
} from './pointer.ts';

const RUN_POINTER = 3;
const RUN_POINTER_NEAR = 4;

/**
 * Writes the blocks of `map[at .. at + 32)` whose bit is set in `mask`; the others count as absent.
 */
export function encodeBlockMap(
  out: ByteWriter,
  map: BlockMap,
  at: number,
  baseSegment: number,
  mask = -1,
): void {
  let segment = baseSegment;
  let nextBlock = 0;
  let block = 0;
  const end = endOfMap(map, at, mask);
  while (block < end) {
    const first = masked(map, at, block, mask);
    const step = first >= POINTER_MIN ? 1 : 0;
    let length = 1;
    while (
      block + length < end &&
      masked(map, at, block + length, mask) === first + step * length
    ) {
      length += 1;
    }
    if (step === 0) {
      out.u8((first << 5) | (length - 1));
    } else {
      const runSegment = segmentOf(first);
      const runBlock = blockOf(first);
      if (runSegment === segment) {
        out.u8((RUN_POINTER_NEAR << 5) | (length - 1));
        const delta = runBlock - nextBlock;
        out.varint(delta >= 0 ? delta * 2 : -delta * 2 - 1);
      } else {
        out.u8((RUN_POINTER << 5) | (length - 1));
        out.varint(runSegment);
        out.varint(runBlock);
        segment = runSegment;
      }
      nextBlock = runBlock + length;
    }
    block += length;
  }
  out.u8(END_OF_MAP);
}

/** No run kind 7 exists, so this byte closes a map. */
const END_OF_MAP = 0xff;

function masked(map: BlockMap, at: number, block: number, mask: number): number {
  return (mask >>> block) & 1 ? map[at + block]! : ABSENT;
}

function endOfMap(map: BlockMap, at: number, mask: number): number {
  let end = CHUNK_BLOCKS;
  while (end > 0 && masked(map, at, end - 1, mask) === ABSENT) end -= 1;
  return end;
}

/**
 * Reads one map and fills those blocks of `map[at .. at + 32)` that are still absent there: call it
 * with the newest layer first. Returns the number of blocks that remain absent. Malformed input is
 * `corrupt`.
 */
export function overlayBlockMap(
  reader: ByteReader,
  map: BlockMap,
  at: number,
  baseSegment: number,
): number {
  let segment = baseSegment;
  let nextBlock = 0;
  let block = 0;
  for (;;) {
    const head = reader.u8();
    if (head === END_OF_MAP) break;
    const kind = head >>> 5;
    const length = (head & 31) + 1;
    if (block + length > CHUNK_BLOCKS) throw reader.corrupt('has a run past its chunk');
    if (kind <= ZERO) {
      for (let i = 0; i < length; i++)
        if (map[at + block + i] === ABSENT) map[at + block + i] = kind;
    } else {
      let runBlock: number;
      if (kind === RUN_POINTER) {
        segment = reader.varint();
        runBlock = reader.varint();
      } else if (kind === RUN_POINTER_NEAR) {
        const coded = reader.varint();
        runBlock = nextBlock + (coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2);
      } else {
        throw reader.corrupt('has an unknown run kind');
      }
      checkSegment(reader, segment);
      if (runBlock < 0 || runBlock + length > SEGMENT_BLOCKS_LIMIT) {
        throw reader.corrupt('points outside of a segment');
      }
      const first = pointerTo(segment, runBlock);
      for (let i = 0; i < length; i++) {
        if (map[at + block + i] === ABSENT) map[at + block + i] = first + i;
      }
      nextBlock = runBlock + length;
    }
    block += length;
  }
  let absent = 0;
  for (let i = 0; i < CHUNK_BLOCKS; i++) if (map[at + i] === ABSENT) absent += 1;
  return absent;
}

/** A larger number would run into that of another segment's blocks. */
function checkSegment(reader: ByteReader, segment: number): void {
  if (segment < 1 || segment >= SEGMENTS_LIMIT) throw reader.corrupt('points to no segment');
}

/** Tells `visit` of each stretch of pointers in a table's map: how many lie in which segment. */
export function forEachPointerRun(
  reader: ByteReader,
  visit: (segment: number, count: number) => void,
): void {
  let segment = 0;
  for (let head = reader.u8(); head !== END_OF_MAP; head = reader.u8()) {
    const kind = head >>> 5;
    if (kind <= ZERO) continue;
    if (kind === RUN_POINTER) segment = reader.varint();
    else if (kind !== RUN_POINTER_NEAR) throw reader.corrupt('has an unknown run kind');
    reader.varint();
    checkSegment(reader, segment);
    visit(segment, (head & 31) + 1);
  }
}

/**
 * In the oldest layer nothing lies below: a hole says no more than absence. True when anything is
 * left.
 */
export function dropHoles(map: BlockMap, at: number): boolean {
  let left = false;
  for (let i = 0; i < CHUNK_BLOCKS; i++) {
    if (map[at + i] === HOLE) map[at + i] = ABSENT;
    else if (map[at + i] !== ABSENT) left = true;
  }
  return left;
}

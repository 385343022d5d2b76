// What one journal record says: journal.ts has the layout.

import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { type ChangedMeta, decodeMetas, encodeMetas, forEachChunk } from './records.ts';
import {
  ABSENT,
  BLOCK_BYTES,
  blockOf,
  POINTER_MIN,
  SEGMENT_BLOCKS_LIMIT,
  segmentOf,
  type BlockMap,
} from './pointer.ts';

export interface JournalChange {
  readonly metas: readonly ChangedMeta[];
  /** Stored blocks that it carries. */
  readonly blocks: number;
  /**
   * Walks the chunks. `state` of each block is ABSENT (unchanged), HOLE, ZERO or POINTER_MIN +
   * index into `data`, in blocks. Borrowed, reused between calls.
   */
  readonly forEachChunk: (visit: (inode: number, chunk: number, state: BlockMap) => void) => void;
  /** Borrowed from the record. */
  readonly data: Uint8Array;
}

/** Everything of a record's plaintext before its blocks. Owned. */
export function encodeChangeHead(
  segment: number,
  delta: {
    readonly metas: readonly ChangedMeta[];
    readonly chunks: Uint8Array;
    readonly blocks: readonly number[];
  },
): Uint8Array {
  const out = new ByteWriter(256 + delta.chunks.length);
  out.varint(segment);
  encodeMetas(out, delta.metas);
  const runs = runsOf(delta.blocks);
  out.varint(runs.length);
  let previous = 0;
  for (const { first, count } of runs) {
    out.varint(first - previous);
    out.varint(count);
    previous = first + count;
  }
  out.lengthPrefixed(delta.chunks);
  return out.finish();
}

/** Of ascending block indexes: those that follow each other. */
export function runsOf(
  blocks: readonly number[],
): readonly { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const block of blocks) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === block) last.count += 1;
    else runs.push({ first: block, count: 1 });
  }
  return runs;
}

/** `corrupt` for bytes that make no sense. */
export function decodeChange(plain: Uint8Array, what: string): JournalChange {
  const reader = new ByteReader(plain, what);
  const segment = reader.varint();
  if (segment < 1) throw reader.corrupt('names no segment');
  const metas = decodeMetas(reader);
  const runs: { readonly first: number; readonly end: number; readonly at: number }[] = [];
  const runCount = reader.count(2);
  let previous = 0;
  let blocks = 0;
  for (let i = 0; i < runCount; i++) {
    const first = previous + reader.varint();
    const count = reader.varint();
    previous = first + count;
    if (count === 0 || previous > SEGMENT_BLOCKS_LIMIT) throw reader.corrupt('has a bad run');
    runs.push({ first, end: previous, at: blocks });
    blocks += count;
  }
  const chunks = reader.lengthPrefixed();
  const data = reader.bytes(blocks * BLOCK_BYTES);
  reader.expectEnd();
  const indexOf = (block: number): number => {
    let low = 0;
    let high = runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle]!.end <= block) low = middle + 1;
      else high = middle;
    }
    const run = runs[low];
    if (run === undefined || block < run.first) throw reader.corrupt('lacks a block of its maps');
    return run.at + block - run.first;
  };
  return {
    metas,
    blocks,
    data,
    forEachChunk: (visit) => {
      forEachChunk({ chunks, segment }, what, (inode, chunk, map) => {
        for (let i = 0; i < map.length; i++) {
          const pointer = map[i]!;
          if (pointer === ABSENT || pointer < POINTER_MIN) continue;
          if (segmentOf(pointer) !== segment) throw reader.corrupt('points into another segment');
          map[i] = POINTER_MIN + indexOf(blockOf(pointer));
        }
        visit(inode, chunk, map);
      });
    },
  };
}

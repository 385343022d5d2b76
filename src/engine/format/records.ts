// The sealed records at the end of a log object: all the metadata of its commits.
//
//   u8 type (1 commit, 2 fence) │ varint epoch
//   fence:  varint resumeAt                       the log number where the log goes on
//   commit: varint segment
//           varint durableBefore               log numbers < this were durable at sealing
//           varint blocks │ varint blocksPerFrame │ varint sealed length × frames
//           varint metas  × { text name │ u8 present │ present ? length-prefixed value }
//           varint inodes × { varint inode │ varint chunks × chunk }
//           chunk = varint chunk number − previous │ block map
//
// Block maps are coded against the record's own segment. A record is applied whole or not at all.

import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { overlayBlockMap } from './block-map.ts';
import { frameCount } from './frame-table.ts';
import { CHUNK_MAX, INODE_MAX } from './keys.ts';
import { createBlockMap, SEGMENT_BLOCKS_LIMIT, type BlockMap } from './pointer.ts';

export const RECORD_COMMIT = 1;
export const RECORD_FENCE = 2;

export interface FenceRecord {
  readonly type: typeof RECORD_FENCE;
  readonly epoch: number;
  readonly resumeAt: number;
}

export interface CommitRecord {
  readonly type: typeof RECORD_COMMIT;
  readonly epoch: number;
  readonly segment: number;
  readonly durableBefore: number;
  readonly blocks: number;
  readonly blocksPerFrame: number;
  readonly frameLengths: ArrayLike<number>;
  /** Names with their new value, or undefined when deleted; the last one of a name wins. */
  readonly metas: readonly (readonly [name: string, value: Uint8Array | undefined])[];
  /** Everything after the metas, still encoded: `forEachChunk` walks it. */
  readonly chunks: Uint8Array;
}

export function encodeFence(fence: FenceRecord): Uint8Array {
  const out = new ByteWriter(32);
  out.u8(RECORD_FENCE);
  out.varint(fence.epoch);
  out.varint(fence.resumeAt);
  return out.finish();
}

export function encodeCommit(out: ByteWriter, commit: CommitRecord): void {
  out.u8(RECORD_COMMIT);
  out.varint(commit.epoch);
  out.varint(commit.segment);
  out.varint(commit.durableBefore);
  out.varint(commit.blocks);
  out.varint(commit.blocksPerFrame);
  for (let f = 0; f < commit.frameLengths.length; f++) out.varint(commit.frameLengths[f]!);
  out.varint(commit.metas.length);
  for (const [name, value] of commit.metas) {
    out.text(name);
    out.u8(value === undefined ? 0 : 1);
    if (value !== undefined) out.lengthPrefixed(value);
  }
  out.bytes(commit.chunks);
}

/** Decodes one record; views are borrowed from `bytes`. `what` names the object in errors. */
export function decodeRecord(bytes: Uint8Array, what: string): CommitRecord | FenceRecord {
  const reader = new ByteReader(bytes, what);
  const type = reader.u8();
  const epoch = reader.varint();
  if (type === RECORD_FENCE) {
    const resumeAt = reader.varint();
    reader.expectEnd();
    return { type, epoch, resumeAt };
  }
  if (type !== RECORD_COMMIT) throw reader.corrupt('is of an unknown type');
  const segment = reader.varint();
  const durableBefore = reader.varint();
  const blocks = reader.varint();
  const blocksPerFrame = reader.varint();
  if (segment < 1 || blocks > SEGMENT_BLOCKS_LIMIT) throw reader.corrupt('is out of bounds');
  if (blocksPerFrame < 1 || blocksPerFrame > SEGMENT_BLOCKS_LIMIT) {
    throw reader.corrupt('has an impossible frame size');
  }
  const frameLengths = new Uint32Array(frameCount(blocks, blocksPerFrame));
  for (let f = 0; f < frameLengths.length; f++) frameLengths[f] = reader.varint();
  const metas: [string, Uint8Array | undefined][] = [];
  const metaCount = reader.count(2);
  for (let i = 0; i < metaCount; i++) {
    const name = reader.text();
    metas.push([name, reader.u8() === 0 ? undefined : reader.lengthPrefixed()]);
  }
  const chunks = reader.bytes(reader.remaining);
  return {
    type,
    epoch,
    segment,
    durableBefore,
    blocks,
    blocksPerFrame,
    frameLengths,
    metas,
    chunks,
  };
}

/** Walks the chunks of a commit in order. `map` is reused between calls: borrowed. */
export function forEachChunk(
  commit: CommitRecord,
  what: string,
  visit: (inode: number, chunk: number, map: BlockMap) => void,
): void {
  const reader = new ByteReader(commit.chunks, what);
  const map = createBlockMap();
  const inodes = reader.count(2);
  for (let i = 0; i < inodes; i++) {
    const inode = reader.varint();
    if (inode > INODE_MAX) throw reader.corrupt('has an inode out of bounds');
    const chunks = reader.count(2);
    let chunk = 0;
    for (let c = 0; c < chunks; c++) {
      chunk += reader.varint();
      if (chunk > CHUNK_MAX) throw reader.corrupt('has a chunk out of bounds');
      map.fill(0);
      overlayBlockMap(reader, map, 0, commit.segment);
      visit(inode, chunk, map);
    }
  }
  reader.expectEnd();
}

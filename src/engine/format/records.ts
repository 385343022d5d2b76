// The sealed records at the end of a log object: all the metadata of its commits.
//
//   u8 type (1 commit, 2 fence, 3 relocation, 4 data) │ varint epoch
//   fence:  varint resumeAt                       the log number where the log goes on
//   commit: varint segment
//           varint durableBefore               log numbers < this were durable at sealing
//           varint blocks │ varint blocksPerFrame │ varint sealed length × frames
//           varint metas  × { text name │ u8 present │ present ? length-prefixed value }
//           varint inodes × { varint inode │ varint chunks × chunk }
//           chunk = varint chunk number − previous │ block map
//   relocation: varint dataId │ u8 cipher │ salt (16), then as a commit, whose blocks and frames
//           are those of the data object
//   data:   varint blocks │ varint blocksPerFrame │ varint sealed length × frames
//           varint inodes × …              whose blocks these were when they were moved
//
// Block maps are coded against the record's own segment; those of a data object against whatever
// segment names it, since they point nowhere else. A record is applied whole or not at all.

import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { overlayBlockMap } from './block-map.ts';
import { CIPHER_IDS, cipherFromId, SALT_BYTES, type CipherName } from '../../codec/types.ts';
import { decodeLengths } from './frame-table.ts';
import { CHUNK_MAX, INODE_MAX } from './keys.ts';
import { createBlockMap, SEGMENTS_LIMIT, type BlockMap } from './pointer.ts';

export const RECORD_COMMIT = 1;
export const RECORD_FENCE = 2;
/** Only in stored bytes: decoded, it is a commit with `data`. */
const RECORD_RELOCATION = 3;
export const RECORD_DATA = 4;

/** A named record with its new value, or undefined when it was deleted. */
export type ChangedMeta = readonly [name: string, value: Uint8Array | undefined];

export interface FenceRecord {
  readonly type: typeof RECORD_FENCE;
  readonly epoch: number;
  readonly resumeAt: number;
}

/** The data object in which the blocks of a relocation lie. */
export interface DataReference {
  readonly id: number;
  readonly cipher: CipherName;
  readonly salt: Uint8Array;
}

export interface DataRecord {
  readonly type: typeof RECORD_DATA;
  readonly epoch: number;
  readonly blocks: number;
  readonly blocksPerFrame: number;
  readonly frameLengths: ArrayLike<number>;
  readonly chunks: Uint8Array;
}

export interface CommitRecord {
  readonly type: typeof RECORD_COMMIT;
  /** Set when the blocks lie in a data object: the object of the record itself has none. */
  readonly data?: DataReference | undefined;
  readonly epoch: number;
  readonly segment: number;
  readonly durableBefore: number;
  readonly blocks: number;
  readonly blocksPerFrame: number;
  readonly frameLengths: ArrayLike<number>;
  /** The last one of a name wins. */
  readonly metas: readonly ChangedMeta[];
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
  const { data } = commit;
  out.u8(data === undefined ? RECORD_COMMIT : RECORD_RELOCATION);
  out.varint(commit.epoch);
  if (data !== undefined) {
    out.varint(data.id);
    out.u8(CIPHER_IDS[data.cipher]);
    out.bytes(data.salt);
  }
  out.varint(commit.segment);
  out.varint(commit.durableBefore);
  encodeFrames(out, commit);
  encodeMetas(out, commit.metas);
  out.bytes(commit.chunks);
}

export function encodeMetas(out: ByteWriter, metas: readonly ChangedMeta[]): void {
  out.varint(metas.length);
  for (const [name, value] of metas) {
    out.text(name);
    out.u8(value === undefined ? 0 : 1);
    if (value !== undefined) out.lengthPrefixed(value);
  }
}

/** Values are borrowed from the reader's bytes. */
export function decodeMetas(reader: ByteReader): readonly ChangedMeta[] {
  const metas: ChangedMeta[] = [];
  const count = reader.count(2);
  for (let i = 0; i < count; i++) {
    const name = reader.text();
    metas.push([name, reader.u8() === 0 ? undefined : reader.lengthPrefixed()]);
  }
  return metas;
}

export function encodeData(out: ByteWriter, record: DataRecord): void {
  out.u8(RECORD_DATA);
  out.varint(record.epoch);
  encodeFrames(out, record);
  out.bytes(record.chunks);
}

type Frames = Pick<CommitRecord, 'blocks' | 'blocksPerFrame' | 'frameLengths'>;

function encodeFrames(out: ByteWriter, { blocks, blocksPerFrame, frameLengths }: Frames): void {
  out.varint(blocks);
  out.varint(blocksPerFrame);
  for (let f = 0; f < frameLengths.length; f++) out.varint(frameLengths[f]!);
}

function decodeFrames(reader: ByteReader): Frames {
  const blocks = reader.varint();
  const blocksPerFrame = reader.varint();
  const frameLengths = decodeLengths(reader, blocks, blocksPerFrame);
  return { blocks, blocksPerFrame, frameLengths };
}

/** Decodes one record; views are borrowed from `bytes`. `what` names the object in errors. */
export function decodeRecord(
  bytes: Uint8Array,
  what: string,
): CommitRecord | FenceRecord | DataRecord {
  const reader = new ByteReader(bytes, what);
  const type = reader.u8();
  const epoch = reader.varint();
  if (type === RECORD_FENCE) {
    const resumeAt = reader.varint();
    reader.expectEnd();
    return { type, epoch, resumeAt };
  }
  if (type === RECORD_DATA) {
    return { type, epoch, ...decodeFrames(reader), chunks: reader.bytes(reader.remaining) };
  }
  if (type !== RECORD_COMMIT && type !== RECORD_RELOCATION) {
    throw reader.corrupt('is of an unknown type');
  }
  const data = type === RECORD_COMMIT ? undefined : decodeDataReference(reader);
  const segment = reader.varint();
  const durableBefore = reader.varint();
  if (segment < 1 || segment >= SEGMENTS_LIMIT) throw reader.corrupt('is out of bounds');
  const frames = decodeFrames(reader);
  const metas = decodeMetas(reader);
  const chunks = reader.bytes(reader.remaining);
  const commit = { epoch, segment, durableBefore, ...frames, metas, chunks };
  return { type: RECORD_COMMIT, ...commit, ...(data === undefined ? {} : { data }) };
}

function decodeDataReference(reader: ByteReader): DataReference {
  const id = reader.varint();
  if (id === 0) throw reader.corrupt('names no data object');
  const cipher = cipherFromId(reader.u8());
  return { id, cipher, salt: reader.bytes(SALT_BYTES).slice() };
}

/** Walks the chunks of a record in order. `map` is reused between calls: borrowed. */
export function forEachChunk(
  commit: { readonly chunks: Uint8Array; readonly segment: number },
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

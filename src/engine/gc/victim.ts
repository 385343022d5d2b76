// Reading a segment that is to be rewritten: which of its blocks are alive, and their bytes. Takes
// from the memory cache what it holds; leaves no trace there, since the cache is for readers.

import { StorageError } from '../../base/errors.ts';
import type { BlockCache } from '../../cache/block-cache.ts';
import { FrameKind } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { lengthsOf } from '../format/frame-table.ts';
import { BLOCK_BYTES, blockOf, CHUNK_BLOCKS, POINTER_MIN, segmentOf } from '../format/pointer.ts';
import { forEachChunk, RECORD_FENCE } from '../format/records.ts';
import { openTail } from '../log/object-tail.ts';
import type { Lineage } from '../manifest/lineage.ts';
import { type Tree, UNKNOWN } from '../tree.ts';
import type { Victim } from './survey.ts';

export interface VictimComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly sealer: Sealer;
  readonly lineage: Lineage;
  readonly tree: Tree;
  readonly cache: BlockCache;
  readonly signal: AbortSignal;
}

export interface LiveBlock {
  readonly inode: number;
  readonly chunk: number;
  /** Of the file. */
  readonly block: number;
  readonly pointer: number;
}

/** Sealed bytes fetched by one GET at most. */
const RANGE_BYTES_MAX = 2 * 1024 * 1024;
/** Unwanted bytes between two frames that are read along. */
const GAP_BYTES_MAX = 512 * 1024;

/** The blocks that still point into the victim, in the order of their place in it. */
export async function liveBlocksOf(
  components: VictimComponents,
  { segment, table }: Victim,
): Promise<readonly LiveBlock[]> {
  const { lineage, tree } = components;
  const name = lineage.segmentName(segment, table);
  const { record } = await openTail(components, name, 'collection');
  if (record.type === RECORD_FENCE) throw new StorageError('corrupt', `${name} is a fence`);
  const owners: LiveBlock[] = [];
  forEachChunk({ segment, chunks: record.chunks }, name, (inode, chunk, map) => {
    for (let i = 0; i < CHUNK_BLOCKS; i++) {
      const pointer = map[i]!;
      if (pointer < POINTER_MIN) continue;
      owners.push({ inode, chunk, block: chunk * CHUNK_BLOCKS + i, pointer });
    }
  });
  const live: LiveBlock[] = [];
  for (const owner of owners) {
    if ((await pointerOf(tree, owner)) === owner.pointer) live.push(owner);
  }
  return live.sort((a, b) => a.pointer - b.pointer);
}

/** Where a block lies now. */
export async function pointerOf(
  tree: Tree,
  { inode, chunk, block }: Pick<LiveBlock, 'inode' | 'chunk' | 'block'>,
): Promise<number> {
  for (;;) {
    const now = tree.pointer(inode, chunk, block % CHUNK_BLOCKS);
    if (now !== UNKNOWN) return now;
    await tree.loadChunk(inode, chunk);
  }
}

/** A block whose bytes are not here yet, and its place among those that are asked for. */
interface Missing {
  readonly block: LiveBlock;
  readonly index: number;
}

/**
 * Copies `blocks`, which ascend in the victim, one after another to `target`. Frames are unsealed
 * to `scratch` as long as they fit it.
 */
export async function readBlocks(
  components: VictimComponents,
  victim: Victim,
  blocks: readonly LiveBlock[],
  target: Uint8Array,
  scratch: Uint8Array,
): Promise<void> {
  const { table } = victim;
  const missing = copyCached(components.cache, blocks, target);
  let at = 0;
  while (at < missing.length) {
    const start = frameOf(victim, missing[at]!.block);
    let end = start + 1;
    let next = at;
    for (; next < missing.length; next++) {
      const frame = frameOf(victim, missing[next]!.block);
      // A few frames that no one wants cost less than another request.
      const gapBytes = frame > end ? table.offsets[frame]! - table.offsets[end]! : 0;
      const bytes = table.offsets[frame + 1]! - table.offsets[start]!;
      if (gapBytes > GAP_BYTES_MAX || (frame >= end && bytes > RANGE_BYTES_MAX)) break;
      end = Math.max(end, frame + 1);
    }
    const plain = await readFrames(components, victim, start, end, scratch);
    for (; at < next; at++) {
      const { block, index } = missing[at]!;
      const from = (blockOf(block.pointer) - start * table.blocksPerFrame) * BLOCK_BYTES;
      target.set(plain.subarray(from, from + BLOCK_BYTES), index * BLOCK_BYTES);
    }
  }
}

/** Copies what the cache holds to its place in `target`; gives the others. */
function copyCached(
  cache: BlockCache,
  blocks: readonly LiveBlock[],
  target: Uint8Array,
): readonly Missing[] {
  const missing: Missing[] = [];
  for (const [index, block] of blocks.entries()) {
    const { pointer } = block;
    if (!cache.peek(segmentOf(pointer), blockOf(pointer), target, index * BLOCK_BYTES)) {
      missing.push({ block, index });
    }
  }
  return missing;
}

function frameOf({ segment, table }: Victim, { pointer }: LiveBlock): number {
  const block = blockOf(pointer);
  if (block < table.blocks) return Math.floor(block / table.blocksPerFrame);
  throw new StorageError('corrupt', `segment ${segment} has no block ${block}`);
}

async function readFrames(
  { store, keyring, sealer, lineage, signal }: VictimComponents,
  { segment, table }: Victim,
  start: number,
  end: number,
  scratch: Uint8Array,
): Promise<Uint8Array> {
  const name = lineage.segmentName(segment, table);
  const range = { start: table.offsets[start]!, end: table.offsets[end]! };
  const { bytes } = await store.get(name, range, { cause: 'collection', signal });
  if (bytes.length !== range.end - range.start) {
    throw new StorageError('corrupt', `${name} ends early, after ${bytes.length} bytes`);
  }
  const firstBlock = start * table.blocksPerFrame;
  const blocks = Math.min(table.blocks, end * table.blocksPerFrame) - firstBlock;
  const plainBytes = blocks * BLOCK_BYTES;
  const fits = plainBytes <= scratch.length;
  const plain = fits ? scratch.subarray(0, plainBytes) : new Uint8Array(plainBytes);
  const lengths = await sealer.unseal({
    seal: keyring.sealFor(name, table.salt, table.cipher),
    kind: FrameKind.data,
    firstIndex: start,
    sealed: bytes,
    sealedLengths: lengthsOf(table.offsets.subarray(start, end + 1)),
    target: plain,
  });
  if (lengths.reduce((sum, length) => sum + length, 0) !== plain.length) {
    throw new StorageError('corrupt', `frames of ${name} have another length than their table`);
  }
  return plain;
}

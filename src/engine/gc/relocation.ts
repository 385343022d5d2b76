// Moves the live blocks of some segments together (RFC 0003).
//
// 1. The record in each victim's object says whose blocks it holds; those whose pointer still names
//    the victim are alive.
// 2. Their bytes are gathered, sorted by (inode, block), sealed and PUT as a data object.
// 3. In one turn every pointer is compared again and, where it has not changed, moved: one commit.
//
// Nothing is lost or seen by anyone when it stops at any point: an object that no commit names is
// found by the sweep.

import { ByteWriter } from '../../base/bytes.ts';
import type { BlockCache } from '../../cache/block-cache.ts';
import type { DiskCache } from '../../cache/disk/disk-cache.ts';
import { allocateShared } from '../../codec/shared.ts';
import { sealedFrameBytesMax } from '../../codec/frame.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import { lengthsOf } from '../format/frame-table.ts';
import { dataName } from '../format/names.ts';
import {
  BLOCK_BYTES,
  blockOf,
  CHUNK_BLOCKS,
  createBlockMap,
  pointerTo,
  segmentOf,
} from '../format/pointer.ts';
import { encodeData, RECORD_DATA } from '../format/records.ts';
import type { CommitLog } from '../log/commit-log.ts';
import { sealObject, type SealComponents, type SealSettings } from '../log/seal-segment.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { Maintenance } from '../maintenance.ts';
import type { Tables } from '../tables.ts';
import { type Tree, UNKNOWN } from '../tree.ts';
import type { Trash } from './trash.ts';
import { liveBlocksOf, type LiveBlock, pointerOf, readBlocks } from './victim.ts';
import type { Victim } from './survey.ts';

export interface RelocationComponents extends SealComponents {
  readonly store: ObjectStore;
  readonly lineage: Lineage;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly cache: BlockCache;
  readonly diskCache?: DiskCache | undefined;
  readonly maintenance: Maintenance;
  readonly commitLog: CommitLog;
  readonly trash: Trash;
  readonly epoch: number;
  readonly signal: AbortSignal;
}

/** A block of the data object that is being filled. */
interface Moved extends LiveBlock {
  /** Where its bytes were put. */
  readonly at: number;
}

const OPTIONS = { cause: 'collection' } as const;

export class Relocation {
  readonly #c: RelocationComponents;
  readonly #settings: SealSettings;
  readonly #blocksMax: number;
  /** Gathered bytes, in order of arrival and then sorted. */
  readonly #gathered: Uint8Array;
  /** Also where victims are unsealed. */
  readonly #sorted: Uint8Array;
  readonly #sealed: Uint8Array;
  #moved: Moved[] = [];
  movedBytes = 0;

  constructor(components: RelocationComponents, settings: SealSettings, segmentBytes: number) {
    this.#c = components;
    this.#settings = settings;
    this.#blocksMax = segmentBytes / BLOCK_BYTES;
    const frames = segmentBytes / settings.frameBytes;
    this.#gathered = allocateShared(segmentBytes);
    this.#sorted = allocateShared(segmentBytes);
    this.#sealed = allocateShared(frames * sealedFrameBytesMax(settings.frameBytes));
  }

  /** Moves a victim's live blocks into the object that is being filled; puts full ones. */
  async add(victim: Victim): Promise<void> {
    const live = await liveBlocksOf(this.#c, victim);
    let done = 0;
    while (done < live.length) {
      const room = this.#blocksMax - this.#moved.length;
      const part = live.slice(done, done + room);
      const at = this.#moved.length;
      const target = this.#gathered.subarray(at * BLOCK_BYTES, (at + part.length) * BLOCK_BYTES);
      await readBlocks(this.#c, victim, part, target, this.#sorted);
      for (const [i, block] of part.entries()) this.#moved.push({ ...block, at: at + i });
      done += part.length;
      if (this.#moved.length === this.#blocksMax) await this.finish();
    }
  }

  /** Puts and commits what was gathered. */
  async finish(): Promise<void> {
    const moved = this.#moved;
    this.#moved = [];
    if (moved.length === 0) return;
    moved.sort((a, b) => a.inode - b.inode || a.block - b.block);
    for (const [i, { at }] of moved.entries()) {
      const from = at * BLOCK_BYTES;
      this.#sorted.set(this.#gathered.subarray(from, from + BLOCK_BYTES), i * BLOCK_BYTES);
    }
    const { tables, store, lineage, signal, epoch } = this.#c;
    const dataId = tables.allocateId();
    try {
      const name = dataName(lineage.own, dataId);
      const plain = this.#sorted.subarray(0, moved.length * BLOCK_BYTES);
      const blocksPerFrame = this.#settings.frameBytes / BLOCK_BYTES;
      const frames = { blocks: moved.length, blocksPerFrame };
      const { body, salt, offsets } = await sealObject(
        this.#c,
        this.#settings,
        { name, plain, sealed: this.#sealed },
        (frameLengths) => {
          const record = new ByteWriter(moved.length * 8 + 256);
          const chunks = encodeOwners(moved);
          encodeData(record, { type: RECORD_DATA, epoch, ...frames, frameLengths, chunks });
          return record;
        },
      );
      await store.putIfAbsent(name, body, { ...OPTIONS, signal });
      const bytes = offsets.at(-1)!;
      this.movedBytes += bytes;
      this.#c.diskCache?.insert(salt, 0, lengthsOf(offsets), this.#sealed.subarray(0, bytes));
      const table = { dataId, cipher: this.#settings.cipher, salt, ...frames, offsets };
      if (!(await this.#commit(moved, table))) {
        this.#c.trash.add([{ kind: 'data', id: dataId, bytes }]);
      }
    } finally {
      tables.finished([dataId]);
    }
  }

  /** Step 3. False when every pointer had changed. */
  async #commit(
    moved: readonly Moved[],
    table: Parameters<CommitLog['commitRelocation']>[0],
  ): Promise<boolean> {
    const { tree, maintenance, commitLog, cache } = this.#c;
    let verified = new Map<Moved, boolean>();
    let version: number;
    do {
      for (let room = maintenance.room(); room !== undefined; room = maintenance.room()) await room;
      version = tree.version;
      verified = await this.#verify(moved);
    } while (version !== tree.version);
    // From here on nothing is awaited until all pointers are moved. What neither a memtable nor the
    // map cache knows is in the tables, which have not changed since they were asked.
    const kept = moved.map((one) => {
      const now = tree.pointer(one.inode, one.chunk, one.block % CHUNK_BLOCKS);
      return now === UNKNOWN ? verified.get(one)! : now === one.pointer;
    });
    if (!kept.includes(true)) return false;
    commitLog.commitRelocation(table, (segment) => {
      const { memtable } = segment;
      for (const [i, { inode, chunk, block, pointer }] of moved.entries()) {
        if (!kept[i]!) continue;
        const slot = memtable.ensure(inode, chunk);
        const inChunk = block % CHUNK_BLOCKS;
        memtable.page(slot)[memtable.mapAt(slot) + inChunk] = pointerTo(segment.id, i);
        segment.touch(inode, chunk, 1 << inChunk);
        // What was hot stays hot.
        if (cache.forget(segmentOf(pointer), blockOf(pointer))) {
          cache.insert(segment.id, i, this.#sorted, i * BLOCK_BYTES);
        }
      }
    });
    await commitLog.whenDurable(commitLog.position.nextSegment - 1);
    return true;
  }

  /** Which blocks still lie where they were read. Brings their maps into memory on the way. */
  async #verify(moved: readonly Moved[]): Promise<Map<Moved, boolean>> {
    const verified = new Map<Moved, boolean>();
    for (const one of moved) {
      const now = await pointerOf(this.#c.tree, one);
      verified.set(one, now === one.pointer);
    }
    return verified;
  }
}

/** Whose blocks a data object holds, as its record says it: maps against the object itself. */
function encodeOwners(moved: readonly Moved[]): Uint8Array {
  const self = 1;
  const byInode = new Map<number, Map<number, Float64Array>>();
  for (const [i, { inode, chunk, block }] of moved.entries()) {
    const chunks = byInode.get(inode) ?? new Map<number, Float64Array>();
    byInode.set(inode, chunks);
    const map = chunks.get(chunk) ?? createBlockMap();
    chunks.set(chunk, map);
    map[block % CHUNK_BLOCKS] = pointerTo(self, i);
  }
  const out = new ByteWriter(moved.length * 6 + 64);
  out.varint(byInode.size);
  for (const [inode, chunks] of byInode) {
    out.varint(inode);
    out.varint(chunks.size);
    let previous = 0;
    for (const [chunk, map] of chunks) {
      out.varint(chunk - previous);
      previous = chunk;
      encodeBlockMap(out, map, 0, self);
    }
  }
  return out.finish();
}

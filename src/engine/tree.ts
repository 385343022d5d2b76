// The LSM tree as the data path sees it: where does block b of chunk c of inode i lie?
//
//   active memtable ─► frozen memtable (being flushed) ─► map cache (what the tables say) ─► tables
//
// The first three answer at once. A chunk that is in none of them is loaded from the tables once
// and kept in the map cache. Installing a flushed memtable lays it over the cached maps, so the
// cache never goes stale; a load that raced with an installation (`version`) starts again.

import { assert } from '../base/assert.ts';
import { ByteReader } from '../base/bytes.ts';
import { StorageError } from '../base/errors.ts';
import { SingleFlight } from '../cache/single-flight.ts';
import type { Maybe } from '../base/maybe.ts';
import { overlayBlockMap } from './format/block-map.ts';
import { decodeSegmentEntry, frameTableBytes, type FrameTable } from './format/frame-table.ts';
import { CHUNK_MAX, chunkKey, chunkOfKey, metaKey, segmentKey } from './format/keys.ts';
import { ABSENT, CHUNK_BLOCKS, createBlockMap, HOLE } from './format/pointer.ts';
import { MapCache } from './memtable/map-cache.ts';
import { Memtable, PagePool } from './memtable/memtable.ts';
import { entriesOf } from './table/cursor.ts';
import { mergeCursors, takeNewest } from './table/merge.ts';
import { lookup, type SortedRun } from './table/run.ts';

/** `pointer` cannot say without reading tables: `await loadChunk(…)` and ask again. */
export const UNKNOWN = -1;

export class Tree {
  readonly #pool = new PagePool();
  active = new Memtable(this.#pool);
  frozen: Memtable | undefined;
  /** Newest first. */
  runs: readonly SortedRun[] = [];
  readonly #maps: MapCache;
  readonly #loads = new SingleFlight<void>();
  readonly #frameTables: FrameTableCache;
  #version = 0;

  constructor(mapCacheBytes: number, frameTableCacheBytes: number) {
    this.#maps = new MapCache(mapCacheBytes);
    this.#frameTables = new FrameTableCache(frameTableCacheBytes);
  }

  /** Memory of block maps and frame tables that were taken from tables. */
  get cacheBytes(): number {
    return this.#maps.bytes + this.#frameTables.bytes;
  }

  /** Goes up when what the tables say changes: by a flush, not by a merge. */
  get version(): number {
    return this.#version;
  }

  /**
   * The newest pointer to a block, HOLE and ZERO included; never ABSENT; UNKNOWN when tables must
   * be read.
   */
  pointer(inode: number, chunk: number, block: number): number {
    let slot = this.active.find(inode, chunk);
    if (slot >= 0) {
      const pointer = this.active.pointer(slot, block);
      if (pointer !== ABSENT) return pointer;
    }
    if (this.frozen !== undefined) {
      slot = this.frozen.find(inode, chunk);
      if (slot >= 0) {
        const pointer = this.frozen.pointer(slot, block);
        if (pointer !== ABSENT) return pointer;
      }
    }
    if (this.runs.length === 0) return HOLE;
    slot = this.#maps.find(inode, chunk);
    return slot < 0 ? UNKNOWN : this.#maps.pointer(slot, block);
  }

  /** Brings what the tables say of a chunk into memory. */
  loadChunk(inode: number, chunk: number): Promise<void> {
    const flying = this.#loads.join(inode, chunk);
    if (flying !== undefined) return flying;
    return this.#loads.start(inode, chunk, this.#loadChunk(inode, chunk));
  }

  async #loadChunk(inode: number, chunk: number): Promise<void> {
    const map = createBlockMap();
    const key = chunkKey(inode, chunk);
    for (;;) {
      const version = this.#version;
      map.fill(ABSENT);
      await lookup(this.runs, key, (value) => {
        const reader = new ByteReader(value, `block map of inode ${inode}`);
        return overlayBlockMap(reader, map, 0, 0) === 0;
      });
      if (version !== this.#version) continue;
      for (let i = 0; i < CHUNK_BLOCKS; i++) if (map[i] === ABSENT) map[i] = HOLE;
      this.#maps.put(inode, chunk, map);
      return;
    }
  }

  /** The frame table of a durable segment. `corrupt` when no layer has it. */
  frameTable(segment: number): Maybe<FrameTable> {
    return (
      this.active.segments.get(segment) ??
      this.frozen?.segments.get(segment) ??
      this.#frameTables.get(segment) ??
      this.#loadFrameTable(segment)
    );
  }

  async #loadFrameTable(segment: number): Promise<FrameTable> {
    let table: FrameTable | undefined;
    await lookup(this.runs, segmentKey(segment), (value) => {
      ({ table } = decodeSegmentEntry(new ByteReader(value, `frame table of segment ${segment}`)));
      return true;
    });
    if (table === undefined) {
      throw new StorageError('corrupt', `segment ${segment} is referenced but has no frame table`);
    }
    this.#frameTables.put(segment, table);
    return table;
  }

  /** The value of a named record, or undefined. */
  async meta(name: string): Promise<Uint8Array | undefined> {
    if (this.active.metas.has(name)) return this.active.metas.get(name);
    if (this.frozen?.metas.has(name) === true) return this.frozen.metas.get(name);
    let found: Uint8Array | undefined;
    await lookup(this.runs, metaKey(name), (value) => {
      found = value[0] === 0 ? undefined : value.slice(1);
      return true;
    });
    return found;
  }

  /**
   * The chunks of `[from, to)` that some layer knows, ascending. A chunk that is written while the
   * walk is under way may be missed; all that were written before are there.
   */
  async *chunksIn(inode: number, from: number, to: number): AsyncGenerator<number> {
    const bounds = { inode, from, to };
    const lists = [this.active, this.frozen].map((m) => m?.sortedChunks(bounds)[0]?.[1]);
    const fresh = mergeSorted(lists[0] ?? NO_CHUNKS, lists[1] ?? NO_CHUNKS);
    let at = 0;
    if (this.runs.length > 0) {
      const end = to > CHUNK_MAX ? chunkKey(inode + 1, 0) : chunkKey(inode, to);
      const bounds = { from: chunkKey(inode, from), to: end, ...SCAN };
      const cursors = this.runs.map((run) => run.cursor(bounds));
      for await (const { key } of entriesOf(mergeCursors(cursors, takeNewest, false))) {
        const chunk = chunkOfKey(key);
        while (at < fresh.length && fresh[at]! < chunk) yield fresh[at++]!;
        if (fresh[at] === chunk) at += 1;
        yield chunk;
      }
    }
    while (at < fresh.length) yield fresh[at++]!;
  }

  /** Makes the active memtable the frozen one. The caller does this at a segment's boundary. */
  freeze(): void {
    assert(this.frozen === undefined, 'one memtable is flushed at a time');
    this.frozen = this.active;
    this.active = new Memtable(this.#pool);
  }

  /** The frozen memtable's content is in `runs` now. */
  installFlushed(runs: readonly SortedRun[]): void {
    const frozen = this.frozen;
    assert(frozen !== undefined, 'something was being flushed');
    for (const [inode, chunks] of frozen.sortedChunks()) {
      for (const chunk of chunks) {
        const slot = frozen.find(inode, chunk);
        this.#maps.overlay(inode, chunk, frozen.page(slot), frozen.mapAt(slot));
      }
    }
    for (const [segment, table] of frozen.segments) this.#frameTables.put(segment, table);
    this.runs = runs;
    this.frozen = undefined;
    this.#version += 1;
  }

  /**
   * Another state altogether: what `runs` hold, and nothing else. No memtable may hold changes.
   */
  replace(runs: readonly SortedRun[]): void {
    assert(this.frozen === undefined && this.active.empty, 'nothing is lost by a replacement');
    this.runs = runs;
    this.#maps.clear();
    this.#version += 1;
  }

  /**
   * What a reader follows has moved on: `runs`, with `active` above them. `continues` says that
   * nothing of what was known before is wrong where `active` is silent.
   */
  rebase(active: Memtable, runs: readonly SortedRun[], continues: boolean): void {
    if (continues) this.freeze();
    else this.#maps.clear();
    this.active = active;
    if (continues) return this.installFlushed(runs);
    this.runs = runs;
    this.#version += 1;
  }

  /** Same content in other tables. */
  installCompacted(runs: readonly SortedRun[]): void {
    this.runs = runs;
  }
}

/** A walk over a file reads what look-ups will want next, and may end early. */
const SCAN = { cause: 'lookup', keep: true, readAhead: false } as const;

const NO_CHUNKS = new Float64Array(0);

function mergeSorted(a: Float64Array, b: Float64Array): number[] {
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const x = a[i] ?? Infinity;
    const y = b[j] ?? Infinity;
    out.push(Math.min(x, y));
    if (x <= y) i += 1;
    if (y <= x) j += 1;
  }
  return out;
}

/** Least recently used frame tables, under a budget. A Map keeps insertion order. */
class FrameTableCache {
  readonly #budgetBytes: number;
  readonly #tables = new Map<number, FrameTable>();
  #bytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(segment: number): FrameTable | undefined {
    const table = this.#tables.get(segment);
    if (table === undefined) return undefined;
    this.#tables.delete(segment);
    this.#tables.set(segment, table);
    return table;
  }

  put(segment: number, table: FrameTable): void {
    if (this.#tables.has(segment)) return;
    this.#tables.set(segment, table);
    this.#bytes += frameTableBytes(table);
    for (const [oldest, stale] of this.#tables) {
      if (this.#bytes <= this.#budgetBytes || oldest === segment) break;
      this.#tables.delete(oldest);
      this.#bytes -= frameTableBytes(stale);
    }
  }
}

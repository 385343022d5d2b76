// Walks one run: are its tables what the manifest says, do keys ascend, does every pointer name a
// segment that has a frame table in the same run and a block that it has, does every segment's
// count say how many pointers there are, is its object there?
//
// A run is walked once, however many roots name it. Memory: a few numbers per segment of the run.

import { ByteReader, compareBytes } from '../../base/bytes.ts';
import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import { FRAME_OVERHEAD_BYTES } from '../../codec/frame.ts';
import type { Clock } from '../../base/clock.ts';
import { overlayBlockMap } from '../format/block-map.ts';
import { decodeSegmentEntry, type FrameTable, type SegmentEntry } from '../format/frame-table.ts';
import { KEY_CHUNK, KEY_META, KEY_SEGMENT, segmentOfKey } from '../format/keys.ts';
import { FOOTER_BYTES } from '../format/log-object.ts';
import {
  ABSENT,
  blockOf,
  CHUNK_BLOCKS,
  createBlockMap,
  POINTER_MIN,
  segmentOf,
} from '../format/pointer.ts';
import type { Lineage } from '../manifest/lineage.ts';
import { BlockCache } from '../table/block-cache.ts';
import type { TableDescriptor } from '../table/descriptor.ts';
import { openRun, type Run } from '../table/run.ts';
import { TABLE_DEFAULTS } from '../table/settings.ts';
import { compactionScan } from '../table/table-cursor.ts';
import type { Inventory } from './inventory.ts';
import type { ObjectCheck, ObjectCheckComponents } from './object-check.ts';
import type { Findings } from './report.ts';

export interface RunCheckComponents extends ObjectCheckComponents {
  readonly clock: Clock;
  readonly inventory: Inventory;
  readonly findings: Findings;
  /** Undefined: frames are not read. */
  readonly objects: ObjectCheck | undefined;
  readonly onProgress: (entries: number) => void;
}

/** What a repair can mend in a run. */
export interface RunDefects {
  wrongCounts: number;
  /** Segments whose frame table is missing or wrong in the run. */
  readonly badSegments: Set<number>;
}

/** Pointers of a run that name one segment. */
interface Pointed {
  count: number;
  lastBlock: number;
}

const CACHE_BYTES = 1024 * 1024;
const PROGRESS_ENTRIES = 4096;

/** Resolves with what was found; damage goes to the findings. */
export async function checkRun(
  components: RunCheckComponents,
  run: Run,
  lineage: Lineage,
): Promise<RunDefects> {
  const walk = new RunWalk(components, lineage);
  for (const descriptor of run.tables) await walk.table(descriptor);
  walk.end();
  components.findings.checked.runs += 1;
  return walk.defects;
}

class RunWalk {
  readonly defects: RunDefects = { wrongCounts: 0, badSegments: new Set() };
  readonly #c: RunCheckComponents;
  readonly #lineage: Lineage;
  readonly #pointed = new Map<number, Pointed>();
  readonly #map = createBlockMap();
  #before = new Uint8Array(0);
  #name = '';
  /** Pointers of tables that could not be read to the end are unknown: counts say nothing then. */
  #whole = true;

  constructor(components: RunCheckComponents, lineage: Lineage) {
    this.#c = components;
    this.#lineage = lineage;
  }

  async table(descriptor: TableDescriptor): Promise<void> {
    const { inventory, findings } = this.#c;
    const { id } = descriptor;
    const name = this.#lineage.tableName(id);
    this.#name = name;
    findings.checked.tables += 1;
    const bytes = await inventory.reach(this.#lineage.branchOfId(id), 'table', id);
    if (bytes === descriptor.bytes) {
      try {
        await this.#entries(descriptor, name);
        return;
      } catch (error) {
        findings.caught('damaged', name, error);
      }
    } else if (bytes === undefined) {
      findings.error('missing', name, 'is not there');
    } else {
      findings.error('size', name, `has ${bytes} bytes instead of ${descriptor.bytes}`);
    }
    this.#whole = false;
  }

  async #entries(descriptor: TableDescriptor, name: string): Promise<void> {
    const { checked } = this.#c.findings;
    const deps = { ...this.#c, cache: new BlockCache(CACHE_BYTES) };
    const cursor = openRun(deps, TABLE_DEFAULTS, { tables: [descriptor] }, () => name).cursor({
      ...compactionScan(),
      cause: 'admin',
    });
    let entries = 0;
    for (;;) {
      const step = cursor.next();
      if (!(typeof step === 'boolean' ? step : await step)) break;
      this.#order(descriptor, cursor.key, entries);
      entries += 1;
      checked.entries += 1;
      if (checked.entries % PROGRESS_ENTRIES === 0) {
        this.#c.onProgress(checked.entries);
        await this.#c.clock.yieldTurn();
      }
      const settling = this.#entry(cursor.key, cursor.value);
      if (settling !== undefined) await settling;
    }
    const last = compareBytes(this.#before, descriptor.lastKey) === 0;
    if (entries !== descriptor.entries || !last) {
      this.#c.findings.error('order', name, 'does not end where its manifest says');
    }
  }

  #order(descriptor: TableDescriptor, key: Uint8Array, entries: number): void {
    const isFirst = entries === 0 && compareBytes(key, descriptor.firstKey) !== 0;
    if (isFirst || compareBytes(this.#before, key) >= 0) {
      throw new StorageError('corrupt', `has entry ${entries} out of order`);
    }
    this.#before = new Uint8Array(key);
  }

  #entry(key: Uint8Array, value: Uint8Array): Promise<void> | undefined {
    const sort = key[0] ?? 0;
    switch (sort) {
      case KEY_META:
        if (value[0] === 0 || value[0] === 1) return undefined;
        throw new StorageError('corrupt', 'has a record of an unknown sort');
      case KEY_CHUNK:
        this.#chunk(value);
        return undefined;
      case KEY_SEGMENT:
        return this.#segment(segmentOfKey(key), value);
      default:
        throw new StorageError('corrupt', 'has a key of an unknown sort');
    }
  }

  #chunk(value: Uint8Array): void {
    const map = this.#map.fill(ABSENT);
    overlayBlockMap(new ByteReader(value, 'a block map'), map, 0, 0);
    for (let i = 0; i < CHUNK_BLOCKS; i++) {
      const pointer = map[i]!;
      if (pointer < POINTER_MIN) continue;
      const segment = segmentOf(pointer);
      const known = this.#pointed.get(segment);
      if (known === undefined)
        this.#pointed.set(segment, { count: 1, lastBlock: blockOf(pointer) });
      else {
        known.count += 1;
        known.lastBlock = Math.max(known.lastBlock, blockOf(pointer));
      }
    }
  }

  async #segment(segment: number, value: Uint8Array): Promise<void> {
    const { findings } = this.#c;
    findings.checked.segments += 1;
    const pointed = this.#pointed.get(segment) ?? { count: 0, lastBlock: -1 };
    this.#pointed.delete(segment);
    let entry: SegmentEntry;
    try {
      entry = decodeSegmentEntry(new ByteReader(value, `frame table of segment ${segment}`));
    } catch (error) {
      if (!isStorageError(error, 'corrupt')) throw error;
      this.defects.badSegments.add(segment);
      findings.error('frames', this.#name, messageOf(error));
      return;
    }
    const { table, live } = entry;
    if (pointed.lastBlock >= table.blocks) {
      const what =
        `segment ${segment} has ${table.blocks} blocks, ` +
        `a pointer names block ${pointed.lastBlock}`;
      findings.error('pointer', this.#name, what);
      this.defects.badSegments.add(segment);
    }
    // Version 1, which began with the log number, counted nothing.
    if (value[0] === 0 && this.#whole && pointed.count !== live) {
      this.defects.wrongCounts += 1;
      const what = `segment ${segment}: ${pointed.count} pointers, its count says ${live}`;
      findings.error('count', this.#name, what);
    }
    await checkObject(this.#c, this.#lineage, segment, table, () => {
      this.defects.badSegments.add(segment);
    });
  }

  /** Pointers that no frame table has been found for. */
  end(): void {
    if (!this.#whole) return;
    for (const [segment, { count }] of this.#pointed) {
      this.defects.badSegments.add(segment);
      const what = `${count} pointers name segment ${segment}, which has no frame table here`;
      this.#c.findings.error('pointer', this.#name, what);
    }
  }
}

/** The object in which a segment's frames lie. */
export async function checkObject(
  { inventory, findings, objects }: RunCheckComponents,
  lineage: Lineage,
  segment: number,
  table: FrameTable,
  onOtherFrames: () => void,
): Promise<void> {
  const branch = lineage.branchOfSegment(segment);
  const kind = table.dataId === 0 ? 'log' : 'data';
  const name = lineage.segmentName(segment, table);
  const bytes = await inventory.reach(branch, kind, table.dataId || table.logNumber);
  // The length of the record is known to the object alone.
  const least = table.offsets.at(-1)! + FRAME_OVERHEAD_BYTES + FOOTER_BYTES;
  if (bytes === undefined) {
    findings.error('missing', name, `segment ${segment}, of ${table.blocks} blocks, is not there`);
  } else if (bytes < least) {
    findings.error('size', name, `has ${bytes} bytes, its frame table asks for ${least} at least`);
  } else {
    await objects?.add({ name, segment, table, onOtherFrames });
  }
}

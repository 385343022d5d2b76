// Reads tables as far as they can be read: without a manifest that describes them, and past blocks
// that do not open.
//
//   footer → lengths of filter and index → index → blocks, many by one GET; where one of them is
//   damaged, each by itself
//
// What a table says of the time that it is from: see rescue-plan.ts.

import { ByteReader } from '../../base/bytes.ts';
import { isStorageError, messageOf } from '../../base/errors.ts';
import { overlayBlockMap } from '../format/block-map.ts';
import { decodeSegmentEntry, type FrameTable } from '../format/frame-table.ts';
import { KEY_CHUNK, KEY_SEGMENT, segmentOfKey } from '../format/keys.ts';
import { ABSENT, CHUNK_BLOCKS, createBlockMap, POINTER_MIN, segmentOf } from '../format/pointer.ts';
import { BlockCache } from '../table/block-cache.ts';
import { BlockCursor } from '../table/block-cursor.ts';
import type { Block } from '../table/block.ts';
import type { Entry } from '../table/cursor.ts';
import type { TableDescriptor } from '../table/descriptor.ts';
import { decodeFooter, FOOTER_BYTES } from '../table/footer.ts';
import { openTable, pieceEnd, type Table } from '../table/reader.ts';
import { TABLE_DEFAULTS } from '../table/settings.ts';
import type { TableTail } from '../table/tail.ts';
import type { ObjectCheckComponents } from './object-check.ts';
import { isDamage } from './report.ts';

export interface RescuedTable {
  readonly id: number;
  readonly name: string;
  readonly descriptor: TableDescriptor;
  /** Pointers in its block maps, by segment. */
  readonly pointers: ReadonlyMap<number, number>;
  /** Its segment keys. */
  readonly frames: ReadonlyMap<number, FrameTable>;
  /** Segments by the counts that their keys have; without those of version 1. */
  readonly counts: ReadonlyMap<number, number>;
  /** What could not be read; undefined: all could. */
  readonly damage: string | undefined;
}

const OPTIONS = { cause: 'admin' } as const;
const CACHE_BYTES = 64 * 1024;

/** Undefined with the reason when nothing of it can be read. Throws when the store fails. */
export async function rescueTable(
  components: ObjectCheckComponents,
  name: string,
  id: number,
): Promise<RescuedTable | string> {
  try {
    const described = await describe(components, name, id);
    return await readFacts(components, name, described);
  } catch (error) {
    if (isDamage(error)) return messageOf(error);
    if (isStorageError(error, 'notFound')) return 'is not there';
    throw error;
  }
}

/** The table's descriptor but for the first key, from the table itself. */
async function describe(
  { store, keyring }: ObjectCheckComponents,
  name: string,
  id: number,
): Promise<TableDescriptor> {
  const { bytes: end, objectBytes } = await store.get(name, { suffix: FOOTER_BYTES }, OPTIONS);
  const { footer } = decodeFooter(end, name, keyring);
  const { entries, filterBytes, indexBytes } = footer;
  const tailBytes = filterBytes + indexBytes + FOOTER_BYTES;
  const unknown = new Uint8Array(0);
  return { id, bytes: objectBytes, tailBytes, entries, firstKey: unknown, lastKey: unknown };
}

async function readFacts(
  components: ObjectCheckComponents,
  name: string,
  described: TableDescriptor,
): Promise<RescuedTable> {
  const table = openRescued(components, name, described);
  const tail = await table.readTail(OPTIONS);
  const pointers = new Map<number, number>();
  const frames = new Map<number, FrameTable>();
  const counts = new Map<number, number>();
  const map = createBlockMap();
  let damage: string | undefined;
  let firstKey: Uint8Array | undefined;
  const onDamage = (what: string): void => {
    damage ??= what;
  };
  for await (const { key, value } of readable(table, tail, onDamage)) {
    firstKey ??= new Uint8Array(key);
    if (key[0] === KEY_CHUNK) {
      map.fill(ABSENT);
      overlayBlockMap(new ByteReader(value, 'a block map'), map, 0, 0);
      for (let i = 0; i < CHUNK_BLOCKS; i++) {
        if (map[i]! < POINTER_MIN) continue;
        const segment = segmentOf(map[i]!);
        pointers.set(segment, (pointers.get(segment) ?? 0) + 1);
      }
    } else if (key[0] === KEY_SEGMENT) {
      const segment = segmentOfKey(key);
      const entry = decodeSegmentEntry(new ByteReader(value, `frame table of segment ${segment}`));
      frames.set(segment, entry.table);
      if (value[0] === 0) counts.set(segment, entry.live);
    }
  }
  const { lastKey } = tail.index;
  const descriptor = { ...described, firstKey: firstKey ?? lastKey, lastKey };
  return { id: described.id, name, descriptor, pointers, frames, counts, damage };
}

function openRescued(
  components: ObjectCheckComponents,
  name: string,
  descriptor: TableDescriptor,
): Table {
  const deps = { ...components, cache: new BlockCache(CACHE_BYTES) };
  return openTable(deps, TABLE_DEFAULTS, descriptor, name);
}

/** The entries of a rescued table that can be read, in order. Borrowed until the next one. */
export async function* rescuedEntries(
  components: ObjectCheckComponents,
  { name, descriptor }: RescuedTable,
): AsyncGenerator<Entry> {
  const table = openRescued(components, name, descriptor);
  yield* readable(table, await table.readTail(OPTIONS), () => {});
}

async function* readable(
  table: Table,
  tail: TableTail,
  onDamage: (what: string) => void,
): AsyncGenerator<Entry> {
  const { blockCount } = tail.index;
  const { scanBytes, sealBytes } = table.settings;
  const cursor = new BlockCursor();
  for (let first = 0; first < blockCount;) {
    const end = pieceEnd(tail, first, blockCount, scanBytes, sealBytes);
    for (const block of await readSound(table, tail, first, end, onDamage)) {
      cursor.enter(block);
      while (cursor.next()) yield { key: cursor.key, value: cursor.value };
    }
    first = end;
  }
}

async function readSound(
  table: Table,
  tail: TableTail,
  first: number,
  end: number,
  onDamage: (what: string) => void,
): Promise<readonly Block[]> {
  try {
    return await table.readBlocks(tail, first, end, OPTIONS);
  } catch (error) {
    if (!isDamage(error)) throw error;
    if (end - first === 1) {
      onDamage(`block ${first} of ${tail.index.blockCount}: ${messageOf(error)}`);
      return [];
    }
  }
  const sound: Block[] = [];
  for (let block = first; block < end; block++) {
    sound.push(...(await readSound(table, tail, block, block + 1, onDamage)));
  }
  return sound;
}

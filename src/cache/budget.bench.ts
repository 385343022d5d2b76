// Which split of one memory budget reads best: a model of a random reader over four caches, for
// budget.ts. Run: node src/cache/budget.bench.ts
//
// A 4 KiB read asks for the block's map; if that is not held, for the table block that has it; then
// for the data; if that is not held, for the frame table, and for the table block that has that.
// What is not held costs a GET: of a table block, or of a frame. A map that must be decoded costs
// the serving thread some 30 µs. All sizes are divided by SCALE, which leaves every ratio as it is.

import { createSeededRng } from '../base/rng.ts';
import { SLOT_OVERHEAD_BYTES, splitCacheBudget } from './budget.ts';
import { Lru, SeamPolicy } from './reference-policies.ts';
import { S3Fifo } from './s3-fifo.ts';
import { createZipf } from './testing-traces.ts';

const MIB = 1024 * 1024;
const SCALE = 16;
const READS = 250_000;
const MAP_BYTES = 313;
const TABLE_BLOCK_BYTES = 16 * 1024 + 256;
const DATA_BLOCK_BYTES = 4096 + SLOT_OVERHEAD_BYTES;

/** What was written, and what an item of it takes: in memory, or in a table block. */
interface Volume {
  readonly name: string;
  /** Places that were written at random, of `unitBlocks` blocks each. */
  readonly units: number;
  readonly unitBlocks: number;
  readonly chunks: number;
  readonly mapsPerTableBlock: number;
  readonly segments: number;
  readonly frameTableBytes: number;
  readonly frameTablesPerTableBlock: number;
}

const GIB_BLOCKS = 262_144;
const volumes: readonly Volume[] = [
  {
    name: '1 TiB thin, 32 GiB of random 16 KiB writes',
    units: 8 * GIB_BLOCKS,
    unitBlocks: 4,
    chunks: 1_860_000,
    mapsPerTableBlock: 900,
    segments: 4096,
    frameTableBytes: 772,
    frameTablesPerTableBlock: 40,
  },
  {
    name: '8 GiB, PostgreSQL: 8 KiB writes in commits of 64 KiB',
    units: 4 * GIB_BLOCKS,
    unitBlocks: 2,
    chunks: 65_536,
    mapsPerTableBlock: 160,
    segments: 131_072,
    frameTableBytes: 264,
    frameTablesPerTableBlock: 500,
  },
  {
    name: '64 GiB, PostgreSQL: 8 KiB writes in commits of 64 KiB',
    units: 32 * GIB_BLOCKS,
    unitBlocks: 2,
    chunks: 524_288,
    mapsPerTableBlock: 160,
    segments: 1_048_576,
    frameTableBytes: 264,
    frameTablesPerTableBlock: 500,
  },
  {
    name: '8 GiB written in order',
    units: 8 * GIB_BLOCKS,
    unitBlocks: 1,
    chunks: 65_536,
    mapsPerTableBlock: 900,
    segments: 1024,
    frameTableBytes: 772,
    frameTablesPerTableBlock: 40,
  },
];

/** Bytes for each, the overhead of blocks included. */
interface Split {
  readonly blocks: number;
  readonly maps: number;
  readonly frameTables: number;
  readonly tableBlocks: number;
}

interface Cost {
  readonly gets: number;
  readonly mapLoads: number;
}

/** Of one read, on average, when the caches are warm. */
function costOf(volume: Volume, split: Split, exponent: number): Cost {
  const { unitBlocks, mapsPerTableBlock, frameTablesPerTableBlock } = volume;
  const units = Math.floor(volume.units / SCALE);
  const chunks = Math.floor(volume.chunks / SCALE);
  const segments = Math.max(1, Math.floor(volume.segments / SCALE));
  const mapBlocks = Math.ceil(chunks / mapsPerTableBlock);
  const tableBlocks = mapBlocks + Math.ceil(segments / frameTablesPerTableBlock);
  const items = (bytes: number, each: number): number =>
    Math.max(1, Math.floor(bytes / SCALE / each));
  const maps = new Lru(items(split.maps, MAP_BYTES), chunks);
  const frameTables = new Lru(items(split.frameTables, volume.frameTableBytes), segments);
  const tables = new Lru(items(split.tableBlocks, TABLE_BLOCK_BYTES), tableBlocks);
  const slots = items(split.blocks, DATA_BLOCK_BYTES);
  const data = new SeamPolicy((count) => new S3Fifo(count), slots, units * unitBlocks);
  const rng = createSeededRng(7);
  const next = createZipf(rng, units, exponent);
  let gets = 0;
  let mapLoads = 0;
  for (let count = 0; count < READS * 2; count++) {
    if (count === READS) gets = mapLoads = 0;
    const unit = next();
    // Units are written in random order: where one lies says nothing of where it belongs.
    const chunk = Math.floor(((unit * 7_368_787) % units) * (chunks / units));
    if (!maps.read(chunk)) {
      mapLoads += 1;
      if (!tables.read(Math.floor(chunk / mapsPerTableBlock))) gets += 1;
    }
    if (data.read(unit * unitBlocks + Math.floor(rng.float() * unitBlocks))) continue;
    gets += 1;
    const segment = Math.floor(unit * (segments / units));
    if (frameTables.read(segment)) continue;
    if (!tables.read(mapBlocks + Math.floor(segment / frameTablesPerTableBlock))) gets += 1;
  }
  return { gets: gets / READS, mapLoads: mapLoads / READS };
}

/** Fixed shares in percent: maps, frame tables, table blocks; the rest is data. */
const shares = [
  [2, 1, 2],
  [9, 3, 9],
  [10, 3, 20],
  [15, 5, 30],
  [5, 5, 40],
] as const;

function splitOf(total: number, [maps, frames, tables]: (typeof shares)[number]): Split {
  const part = (percent: number): number => (total * percent) / 100;
  return {
    blocks: part(100 - maps - frames - tables),
    maps: part(maps),
    frameTables: part(frames),
    tableBlocks: part(tables),
  };
}

/** As budget.ts splits it: blocks have what the others cannot fill. */
function lent(total: number, volume: Volume): Split {
  const split = splitCacheBudget(total);
  const maps = Math.min(split.maps, volume.chunks * MAP_BYTES);
  const frameTables = Math.min(split.frameTables, volume.segments * volume.frameTableBytes);
  const blocksOfTables =
    volume.chunks / volume.mapsPerTableBlock + volume.segments / volume.frameTablesPerTableBlock;
  const tableBlocks = Math.min(split.tableBlocks, blocksOfTables * TABLE_BLOCK_BYTES);
  return { blocks: total - maps - frameTables - tableBlocks, maps, frameTables, tableBlocks };
}

for (const total of [64 * MIB, 256 * MIB, 1024 * MIB]) {
  const rows = volumes.flatMap((volume) =>
    [0, 0.99].map((exponent) => {
      const reads = exponent === 0 ? 'uniform' : 'zipf 0.99';
      const row: Record<string, string> = { volume: volume.name, reads };
      const add = (name: string, split: Split): void => {
        const { gets, mapLoads } = costOf(volume, split, exponent);
        row[name] = `${gets.toFixed(2)} (${mapLoads.toFixed(2)})`;
      };
      for (const share of shares) add(share.join('/'), splitOf(total, share));
      add('lent', lent(total, volume));
      return row;
    }),
  );
  console.log(`${total / MIB} MiB: GETs a read (and maps decoded a read)`);
  console.table(rows);
}

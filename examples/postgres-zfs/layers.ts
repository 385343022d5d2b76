// Which layer answered the reads of a run, by the counters of each layer, from the top down.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { StatusReport } from '../../src/server/http/report.ts';
import type { Database } from './database.ts';

/** Reads that a layer answered, and those that it passed on. */
export interface Answers {
  readonly hits: number;
  readonly misses: number;
}

export interface Layers {
  /** Pages of 8 KiB. */
  readonly buffers: Answers;
  /** Records and metadata. */
  readonly arc: Answers;
  readonly l2arc: Answers;
  /** Requests of the pool to its device, and their bytes. */
  readonly deviceReads: number;
  readonly deviceReadBytes: number;
  readonly deviceWrittenBytes: number;
  /** Undefined beside a local device. */
  readonly varve: VarveLayers | undefined;
}

export interface VarveLayers {
  /** Blocks of 4 KiB. */
  readonly memory: Answers;
  /** Frames of up to 64 KiB. */
  readonly disk: Answers;
  readonly getsOfData: number;
  readonly getsOfTables: number;
  readonly putsOfLog: number;
  readonly barriers: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

const SECTOR_BYTES = 512;

export async function readLayers(
  database: Database,
  status: StatusReport | undefined,
): Promise<Layers> {
  const arc = await database.host.counters('arcstats');
  const blocks = await database.postgres.query(
    'SELECT sum(blks_hit), sum(blks_read) FROM pg_stat_database',
  );
  const [hits, misses] = blocks.split('|').map(Number);
  const stat = await readFile(`/sys/block/${basename(database.device.path)}/stat`, 'utf8');
  const device = stat.trim().split(/\s+/).map(Number);
  return {
    buffers: { hits: hits!, misses: misses! },
    arc: { hits: arc['hits']!, misses: arc['misses']! },
    l2arc: { hits: arc['l2_hits']!, misses: arc['l2_misses']! },
    deviceReads: device[0]!,
    deviceReadBytes: device[2]! * SECTOR_BYTES,
    deviceWrittenBytes: device[6]! * SECTOR_BYTES,
    varve: status === undefined ? undefined : varveLayers(status),
  };
}

function varveLayers({ cache, store, barriers }: StatusReport): VarveLayers {
  const tier = (name: string): Answers => ({
    hits: cache[name]?.['hits'] ?? 0,
    misses: cache[name]?.['misses'] ?? 0,
  });
  const count = (kind: 'put' | 'get', cause: string): number => store.byCause[cause]?.[kind] ?? 0;
  return {
    memory: tier('memory'),
    disk: tier('disk'),
    getsOfData: count('get', 'read'),
    getsOfTables: count('get', 'lookup') + count('get', 'compaction'),
    putsOfLog: count('put', 'barrier'),
    barriers,
    bytesUp: store.bytesUp,
    bytesDown: store.bytesDown,
  };
}

/** What happened between two readings of the same processes. */
export function layersBetween(before: Layers, after: Layers): Layers {
  return {
    buffers: answersBetween(before.buffers, after.buffers),
    arc: answersBetween(before.arc, after.arc),
    l2arc: answersBetween(before.l2arc, after.l2arc),
    deviceReads: after.deviceReads - before.deviceReads,
    deviceReadBytes: after.deviceReadBytes - before.deviceReadBytes,
    deviceWrittenBytes: after.deviceWrittenBytes - before.deviceWrittenBytes,
    varve: varveBetween(before.varve, after.varve),
  };
}

function varveBetween(
  before: VarveLayers | undefined,
  after: VarveLayers | undefined,
): VarveLayers | undefined {
  if (before === undefined || after === undefined) return undefined;
  return {
    memory: answersBetween(before.memory, after.memory),
    disk: answersBetween(before.disk, after.disk),
    getsOfData: after.getsOfData - before.getsOfData,
    getsOfTables: after.getsOfTables - before.getsOfTables,
    putsOfLog: after.putsOfLog - before.putsOfLog,
    barriers: after.barriers - before.barriers,
    bytesUp: after.bytesUp - before.bytesUp,
    bytesDown: after.bytesDown - before.bytesDown,
  };
}

function answersBetween(before: Answers, after: Answers): Answers {
  return { hits: after.hits - before.hits, misses: after.misses - before.misses };
}

// What the policy is worth, what a read and an insert cost, and how fast a large cache starts.
// Run: node src/cache/disk/disk-cache.bench.ts      (writes up to 400 MiB in the temp directory)

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../base/log.ts';
import { createSeededRng, type Rng } from '../../base/rng.ts';
import { systemClock, systemRng } from '../../base/system.ts';
import { type DiskCache, openDiskCache } from './disk-cache.ts';
import { layoutFor } from './layout.ts';
import { nodeDisk } from './node-disk.ts';
import { bytesOf, encodeDirectory, encodeHeader, MAIN, slabName } from './slab-format.ts';

const root = mkdtempSync(join(tmpdir(), 'varve-disk-cache-bench-'));
let directories = 0;

function open(budgetBytes: number, directory = join(root, String(directories++))) {
  const components = { disk: nodeDisk, clock: systemClock, rng: systemRng, log: silentLog };
  return openDiskCache(components, { directory, budgetBytes });
}

function createZipf(rng: Rng, items: number, exponent: number): () => number {
  const cumulative = new Float64Array(items);
  let sum = 0;
  for (let rank = 0; rank < items; rank++) {
    sum += (rank + 1) ** -exponent;
    cumulative[rank] = sum;
  }
  return () => {
    const wanted = rng.float() * sum;
    let low = 0;
    let high = items - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return (low * 7919) % items;
  };
}

const salt = systemRng.bytes(16);
const POLICY_FRAME_BYTES = 4096;
const POLICY_FRAMES = 8192;
const DATA_FRAMES = 80_000;
const policyLengths = Uint32Array.of(POLICY_FRAME_BYTES);
const policyBytes = new Uint8Array(POLICY_FRAME_BYTES);
const policyTarget = new Uint8Array(POLICY_FRAME_BYTES);

/** Whether the frame hit. */
type Reader = (frame: number) => Promise<boolean> | boolean;

function lruReader(): Reader {
  const held = new Set<number>();
  return (frame) => {
    const hit = held.delete(frame);
    held.add(frame);
    if (held.size > POLICY_FRAMES) {
      for (const oldest of held) {
        held.delete(oldest);
        break;
      }
    }
    return hit;
  };
}

function cacheReader(cache: DiskCache): Reader {
  return async (frame) => {
    if (await cache.read(salt, frame, policyLengths, policyTarget)) return true;
    cache.insert(salt, frame, policyLengths, policyBytes);
    if (frame % 16 === 0) await cache.flush();
    return false;
  };
}

type Workload = (read: Reader) => Promise<number>;

const READS = 120_000;

function zipfAndScan(exponent: number, scanPerRead: number): Workload {
  return async (read) => {
    const next = createZipf(createSeededRng(1), DATA_FRAMES, exponent);
    let scanned = 1_000_000;
    let hits = 0;
    for (let count = 0; count < READS / (1 + scanPerRead); count++) {
      const hit = await read(next());
      if (hit && count >= READS / (1 + scanPerRead) / 2) hits += 1;
      for (let scan = 0; scan < scanPerRead; scan++) await read(scanned++);
    }
    return hits / (READS / (1 + scanPerRead) / 2);
  };
}

const drift: Workload = async (read) => {
  const next = createZipf(createSeededRng(3), DATA_FRAMES, 0.9);
  let hits = 0;
  for (let count = 0; count < READS; count++) {
    if (await read((next() + Math.floor(count / 20_000) * 20_011) % DATA_FRAMES)) hits += 1;
  }
  return hits / READS;
};

const loop: Workload = async (read) => {
  let hits = 0;
  for (let count = 0; count < READS; count++) {
    if (await read(count % Math.floor(POLICY_FRAMES * 1.2))) hits += 1;
  }
  return hits / READS;
};

async function measureRatios(): Promise<void> {
  const workloads: Record<string, Workload> = {
    'zipf 0.7': zipfAndScan(0.7, 0),
    'zipf 0.9': zipfAndScan(0.9, 0),
    'zipf 1.1': zipfAndScan(1.1, 0),
    'zipf 0.9 + scan 1:1': zipfAndScan(0.9, 1),
    'zipf 0.9 + scan 4:1': zipfAndScan(0.9, 4),
    'zipf 0.9, hot set moves': drift,
    'loop over 1.2 × the cache': loop,
  };
  const rows: Record<string, string>[] = [];
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  for (const [workload, run] of Object.entries(workloads)) {
    const cache = await open(POLICY_FRAMES * POLICY_FRAME_BYTES);
    const disk = percent(await run(cacheReader(cache)));
    const lru = percent(await run(lruReader()));
    const { inserts, moved } = cache.stats();
    rows.push({ workload, disk, lru, 'written again': percent(moved / inserts) });
    await cache.close();
  }
  console.log(`Hit ratios: ${POLICY_FRAMES} frames of cache, ${DATA_FRAMES} of data`);
  console.table(rows);
}

async function measureCosts(frameBytes: number, group: number): Promise<Record<string, string>> {
  const cache = await open(400 * 2 ** 20);
  const groups = Math.floor((256 * 2 ** 20) / frameBytes / group);
  const lengths = new Uint32Array(group).fill(frameBytes);
  const bytes = systemRng.bytes(frameBytes * group);
  const target = Buffer.alloc(bytes.length);
  let insertMs = 0;
  const start = performance.now();
  for (let at = 0; at < groups; at++) {
    const before = performance.now();
    cache.insert(salt, at * group, lengths, bytes);
    insertMs += performance.now() - before;
    if (cache.stats().queuedBytes > 8 * 2 ** 20) await cache.flush();
  }
  await cache.flush();
  const writeMs = performance.now() - start;
  const reads = Math.min(groups, 20_000);
  const readAll = async (parallel: number): Promise<number> => {
    const from = performance.now();
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < reads) {
        const at = (next++ * 7919) % groups;
        await cache.read(salt, at * group, lengths, target);
      }
    };
    await Promise.all(Array.from({ length: parallel }, work));
    return ((performance.now() - from) / reads) * 1000;
  };
  await readAll(4);
  const depth1 = await readAll(1);
  const depth4 = await readAll(4);
  const { hits, misses, dropped } = cache.stats();
  if (misses + dropped > 0 || hits === 0) throw new Error('all of it was cached');
  await cache.close();
  return {
    frames: `${group} × ${frameBytes / 1024} KiB`,
    'insert call': `${((insertMs / groups) * 1000).toFixed(1)} µs`,
    'to disk': `${((groups * bytes.length) / writeMs / 1e3).toFixed(0)} MB/s`,
    'read, depth 1': `${depth1.toFixed(1)} µs`,
    'read, depth 4': `${depth4.toFixed(1)} µs`,
  };
}

/** Slabs as a close leaves them, but for the sealed bytes: the files are sparse. */
async function makeLarge(directory: string, budgetBytes: number, frameBytes: number) {
  const { slabBytes, slabCount } = layoutFor(budgetBytes);
  const count = Math.floor(slabBytes / (frameBytes + 60));
  mkdirSync(directory, { recursive: true });
  for (let slot = 0; slot < slabCount - 2; slot++) {
    const header = {
      kind: MAIN,
      sequence: slot + 1,
      generationLow: slot,
      generationHigh: 1,
    } as const;
    const entries = new Uint32Array(count * 6);
    for (let at = 0; at < count; at++) {
      const offset = 48 + at * (frameBytes + 24);
      entries.set([slot * 0x9e3779b1, slot * 77, at, offset, frameBytes, 0], at * 6);
    }
    const end = 48 + count * (frameBytes + 24);
    const file = await nodeDisk.open(directory, slabName(slot));
    await file.write([bytesOf(encodeHeader(header))], 0);
    await file.write([bytesOf(encodeDirectory(entries, header, end))], end);
    await file.close();
  }
}

async function measureStart(gib: number, frameBytes: number): Promise<Record<string, string>> {
  const directory = join(root, 'large');
  await makeLarge(directory, gib * 2 ** 30, frameBytes);
  const start = performance.now();
  const cache = await open(gib * 2 ** 30, directory);
  const ms = performance.now() - start;
  const { entries, overheadBytes } = cache.stats();
  await cache.close();
  rmSync(directory, { recursive: true });
  const each = (overheadBytes / entries).toFixed(0);
  return {
    cache: `${gib} GiB of ${frameBytes / 1024} KiB frames`,
    entries: String(entries),
    start: `${ms.toFixed(0)} ms`,
    memory: `${(overheadBytes / 2 ** 20).toFixed(0)} MiB, ${each} B each`,
  };
}

try {
  await measureRatios();
  const costs = [await measureCosts(64 * 1024, 1), await measureCosts(64 * 1024, 8)];
  costs.push(await measureCosts(4096, 1));
  console.table(costs);
  console.table([await measureStart(100, 64 * 1024), await measureStart(100, 32 * 1024)]);
} finally {
  rmSync(root, { recursive: true, force: true });
}

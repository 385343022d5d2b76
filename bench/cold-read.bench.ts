// What a cold sequential read reaches, beside a bare loop that GETs the same log objects in ranges
// of 1 MiB with the same S3 client in the same process: it neither looks anything up nor opens a
// frame.
//
//   node --max-semi-space-size=2 --single-threaded-gc bench/cold-read.bench.ts
//     [--size 1G] [--rounds 3] [--latency MS] [--ahead BYTES] [--endpoint URL]
//
// The flags of Node are those of the server. Starts Ceph's S3 gateway for itself unless it is given
// one (scripts/rgw.sh). The volume holds random bytes, so that what is read and what is fetched are
// the same amount. `--latency` adds so many milliseconds to every request, as a store that is far
// away does. CPU is that of this process, all threads; on a busy machine it says more than the
// rate.

import { randomFillSync } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { silentLog } from '../src/base/log.ts';
import { systemClock, systemRng } from '../src/base/system.ts';
import { parseSize } from '../src/cli/size.ts';
import { createSealerPool } from '../src/codec/sealer-pool.ts';
import { initStore, openDatabase } from '../src/engine/db.ts';
import { withLatency } from '../src/objectstore/latency.ts';
import { type MeteredStore, withMeter } from '../src/objectstore/metered.ts';
import type { ObjectStore } from '../src/objectstore/object-store.ts';
import { staticCredentials } from '../src/objectstore/s3/credentials.ts';
import { createBucketIfMissing, createS3Store } from '../src/objectstore/s3/s3-store.ts';
import type { BlockDevice } from '../src/volume/block-device.ts';
import { openVolumes } from '../src/volume/volumes.ts';
import { startRgw } from '../test/support/rgw.ts';
import { median, printTable } from './device.ts';

const MIB = 1024 * 1024;
const PASSPHRASE = 'a benchmark has no secrets';
const CACHE_BYTES = 256 * MIB;
/** As src/opened-branch.ts. */
const SEALING = { inlineBytesMax: 72 * 1024 };
const RANGE_BYTES = MIB;

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1G' },
    rounds: { type: 'string', default: '3' },
    latency: { type: 'string', default: '0' },
    ahead: { type: 'string', default: '4M' },
    endpoint: { type: 'string' },
  },
});

interface Bench {
  readonly store: MeteredStore;
  readonly sizeBytes: number;
  readonly readAheadBytes: number;
}

interface Run {
  readonly mibPerSecond: number;
  readonly getsPerMib: number;
  readonly cpuMsPerMib: number;
}

/** Calls `work` for 0 to `count - 1` in order, `depth` at a time; together they move `bytes`. */
async function run(
  { store }: Bench,
  bytes: number,
  count: number,
  depth: number,
  work: (index: number) => void | Promise<void>,
): Promise<Run> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  const gets = (): number => store.meter.snapshot().total.get.requests;
  const before = { gets: gets(), cpu: process.cpuUsage(), now: performance.now() };
  await Promise.all(Array.from({ length: depth }, one));
  const seconds = (performance.now() - before.now) / 1000;
  const { user, system } = process.cpuUsage(before.cpu);
  const mib = bytes / MIB;
  return {
    mibPerSecond: mib / seconds,
    getsPerMib: (gets() - before.gets) / mib,
    cpuMsPerMib: (user + system) / 1000 / mib,
  };
}

/** Opens the store anew, so that no block is in memory. */
async function withDevice<T>(bench: Bench, work: (device: BlockDevice) => Promise<T>): Promise<T> {
  const threads = Math.max(1, availableParallelism() - 1);
  const sealer = createSealerPool({ threads, ...SEALING, log: silentLog });
  const components = { store: bench.store, sealer, clock: systemClock, rng: systemRng };
  const database = await openDatabase(
    { ...components, log: silentLog },
    { passphrase: PASSPHRASE, cacheMemoryBytes: CACHE_BYTES },
  );
  const volumes = await openVolumes(database, { readAheadBytes: bench.readAheadBytes });
  if (volumes.list().length === 0) await volumes.create('disk', bench.sizeBytes);
  const device = volumes.open('disk');
  try {
    return await work(device);
  } finally {
    device.close();
    await database.close();
    await sealer.close();
  }
}

function fill(bench: Bench): Promise<Run> {
  const depth = 4;
  const pieces = Array.from({ length: depth }, () => new Uint8Array(MIB));
  return withDevice(bench, async (device) => {
    const filled = await run(bench, bench.sizeBytes, bench.sizeBytes / MIB, depth, (index) =>
      device.write(index * MIB, randomFillSync(pieces[index % depth]!)),
    );
    await device.flush();
    return filled;
  });
}

function readDevice(bench: Bench, blockBytes: number, depth: number): Promise<Run> {
  return withDevice(bench, (device) => {
    const targets = Array.from({ length: depth }, () => new Uint8Array(blockBytes));
    return run(bench, bench.sizeBytes, bench.sizeBytes / blockBytes, depth, (index) =>
      device.read(index * blockBytes, targets[index % depth]!),
    );
  });
}

interface Range {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

async function rangesOf(store: ObjectStore): Promise<readonly Range[]> {
  const ranges: Range[] = [];
  for await (const page of store.list('branches/', { cause: 'admin' })) {
    for (const { key, bytes } of page) {
      if (!key.includes('/log/')) continue;
      for (let start = 0; start < bytes; start += RANGE_BYTES) {
        ranges.push({ key, start, end: Math.min(bytes, start + RANGE_BYTES) });
      }
    }
  }
  return ranges;
}

function readBare(bench: Bench, ranges: readonly Range[], depth: number): Promise<Run> {
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  return run(bench, bytes, ranges.length, depth, async (index) => {
    const { key, start, end } = ranges[index]!;
    await bench.store.get(key, { start, end }, { cause: 'read' });
  });
}

async function compare(bench: Bench, rounds: number): Promise<void> {
  const ranges = await rangesOf(bench.store);
  const bare = [1, 4, 8, 16].map((depth) => ({
    name: `bare GETs, ${depth} at a time`,
    read: () => readBare(bench, ranges, depth),
    runs: [] as Run[],
  }));
  const ours = [128 * 1024, MIB].flatMap((blockBytes) =>
    [1, 4].map((depth) => ({
      name: `volume, ${blockBytes / 1024} KiB, depth ${depth}`,
      read: () => readDevice(bench, blockBytes, depth),
      runs: [] as Run[],
    })),
  );
  // In alternation, so that a noisy machine hurts all alike.
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < bare.length; index++) {
      for (const job of [bare[index]!, ours[index]!]) job.runs.push(await job.read());
    }
  }
  const of = (runs: readonly Run[], field: keyof Run): number => median(runs.map((r) => r[field]));
  const best = Math.max(...bare.map(({ runs }) => of(runs, 'mibPerSecond')));
  const four = of(bare[1]!.runs, 'mibPerSecond');
  const rows = [...bare, ...ours].map(({ name, runs }) => {
    const rate = of(runs, 'mibPerSecond');
    return [
      name,
      rate.toFixed(0),
      (rate / four).toFixed(2),
      (rate / best).toFixed(2),
      of(runs, 'getsPerMib').toFixed(2),
      of(runs, 'cpuMsPerMib').toFixed(2),
    ];
  });
  const head = ['cold sequential read', 'MiB/s', 'of bare 4', 'of best', 'GET/MiB', 'CPU ms/MiB'];
  printTable(head, rows);
}

/** A gateway that was given to us is left as it was. */
async function removeAll(store: ObjectStore): Promise<void> {
  for await (const page of store.list('', { cause: 'admin' })) {
    await Promise.all(page.map(({ key }) => store.delete(key, { cause: 'admin' })));
  }
}

async function main(): Promise<void> {
  await using open = new AsyncDisposableStack();
  let { endpoint } = values;
  if (endpoint === undefined) {
    const rgw = await startRgw();
    open.defer(() => rgw.stop());
    ({ endpoint } = rgw);
  }
  const s3 = {
    bucket: 'varve-bench',
    endpoint,
    region: 'us-east-1',
    addressing: 'path',
    credentials: staticCredentials({ accessKeyId: 'AK', secretAccessKey: 'SK' }),
    clock: systemClock,
    log: silentLog,
  } as const;
  await createBucketIfMissing(s3);
  const near = createS3Store({ ...s3, prefix: `cold-read-${process.pid}` });
  const far = withLatency(near, systemClock, Number(values.latency));
  const store = withMeter(values.latency === '0' ? near : far);
  open.defer(() => store.close());
  open.defer(() => removeAll(near));
  const clock = systemClock;
  const keySlotCost = { memoryKiB: 8, passes: 1, parallelism: 1 };
  const seals = { cipher: 'chacha20-poly1305', compression: 'lz4', keySlotCost } as const;
  await initStore({ store, rng: systemRng, clock }, { passphrase: PASSPHRASE, ...seals });
  const bench = {
    store,
    sizeBytes: parseSize(values.size),
    readAheadBytes: parseSize(values.ahead),
  };
  const written = await fill(bench);
  process.stdout.write(`written at ${written.mibPerSecond.toFixed(0)} MiB/s\n`);
  await compare(bench, Number(values.rounds));
}

await main();

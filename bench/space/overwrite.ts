// A volume that is overwritten at random, many times over: what the bucket holds beside what is
// live, and what is uploaded beside what is written, over time.
//
//   node bench/space/overwrite.ts [--size 8G] [--fill 0.8] [--block 16K] [--volumes 10]
//   [--snapshot]
//        [--depth 16] [--flush 1024] [--every 5] [--settle 15] [--cache-memory 256M] [--seed 1]
//        [--dir DIR] [--csv FILE] [--disk 48G] [--serve FLAGS]
//
// With --snapshot one is taken when the volume is filled and deleted at 60 % of the run. In the end
// random blocks are read back and compared, after the server was started anew.

import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/size.ts';
import {
  type BenchServer,
  COMMON_OPTIONS,
  withBenchServer,
  words,
} from './support/bench-server.ts';
import { Content } from './support/content.ts';
import { fill, verifySome } from './support/fill.ts';
import { Latencies } from './support/latencies.ts';
import { atDepth, stopwatch, watching } from './support/load.ts';
import type { NbdClient } from './support/nbd-client.ts';
import { reportOverwrite, type Sample } from './support/overwrite-report.ts';
import { formatSize, mib, progress, say, seconds, writeCsv } from './support/output.ts';

const SNAPSHOT = 'base';
const SNAPSHOT_UNTIL = 0.6;
const VERIFIED_BLOCKS = 2000;

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '8G' },
    fill: { type: 'string', default: '0.8' },
    block: { type: 'string', default: '16K' },
    volumes: { type: 'string', default: '10' },
    snapshot: { type: 'boolean', default: false },
    depth: { type: 'string', default: '16' },
    flush: { type: 'string', default: '1024' },
    every: { type: 'string', default: '5' },
    settle: { type: 'string', default: '15' },
    'cache-memory': { type: 'string', default: '256M' },
    seed: { type: 'string', default: '1' },
    /** What the bucket may grow to: past it the bench ends. */
    disk: { type: 'string', default: '48G' },
    ...COMMON_OPTIONS,
  },
});

const sizeBytes = parseSize(values.size);
const content = new Content(sizeBytes, parseSize(values.block), Number(values.seed));
const { blockBytes } = content;
const liveBlocks = Math.floor(content.blocks * Number(values.fill));
const liveBytes = liveBlocks * blockBytes;
const totalBytes = sizeBytes * Number(values.volumes);
const flushEvery = Number(values.flush);
const latencies = new Latencies();
const samples: Sample[] = [];
let phase: Sample['phase'] = 'free';
let requests = 0;
let written = 0;
let stopped: string | undefined;

/** Random blocks of the filled part until `target` bytes are written. */
async function overwriteUntil(client: NbdClient, target: number): Promise<void> {
  await atDepth(Number(values.depth), () => {
    if (written * blockBytes >= target || stopped !== undefined) return undefined;
    requests += 1;
    if (requests % flushEvery === 0) return client.flush();
    written += 1;
    return overwriteOne(client);
  });
}

async function overwriteOne(client: NbdClient): Promise<void> {
  const start = performance.now();
  await content.write(client, content.pick(liveBlocks));
  latencies.add(performance.now() - start);
}

function createSampler(bench: BenchServer, putAtStart: number): () => Promise<void> {
  const elapsed = stopwatch();
  const every = Number(values.every);
  return async () => {
    const status = await bench.status();
    const bucket = bench.bucket.measure();
    const before = samples.at(-1);
    const userBytes = written * blockBytes;
    const putBytes = status.store.bytesUp - putAtStart;
    const userSince = userBytes - (before?.userBytes ?? 0);
    const sample: Sample = {
      seconds: elapsed(),
      phase,
      userBytes,
      putBytes,
      bucketBytes: bucket.bytes,
      objects: bucket.objects,
      liveBytes,
      factor: bucket.bytes / liveBytes,
      windowAmplification: userSince === 0 ? 0 : (putBytes - (before?.putBytes ?? 0)) / userSince,
      amplification: userBytes === 0 ? 0 : putBytes / userBytes,
      p50Ms: latencies.percentile(0.5),
      p99Ms: latencies.percentile(0.99),
      residentBytes: bench.memory().residentBytes,
    };
    latencies.clear();
    samples.push(sample);
    stopped ??= bench.overDisk(bucket, parseSize(values.disk));
    if (samples.length % Math.max(1, Math.round(10 / every)) === 0) progress(progressLine(sample));
  };
}

function progressLine(sample: Sample): string {
  return (
    `overwrite: ${formatSize(sample.userBytes)} of ${formatSize(totalBytes)} (${sample.phase}), ` +
    `bucket ${mib(sample.bucketBytes)} = ${sample.factor.toFixed(2)}×, ` +
    `amplification ${sample.windowAmplification.toFixed(2)}, p99 ${sample.p99Ms.toFixed(1)} ms, ` +
    `RSS ${mib(sample.residentBytes)}`
  );
}

async function load(bench: BenchServer, client: NbdClient): Promise<void> {
  if (values.snapshot) {
    await bench.server.command('snapshot', 'create', SNAPSHOT);
    phase = 'held';
    await overwriteUntil(client, totalBytes * SNAPSHOT_UNTIL);
    await bench.server.command('snapshot', 'delete', SNAPSHOT);
    phase = 'deleted';
  }
  await overwriteUntil(client, totalBytes);
  await client.flush();
  phase = 'idle';
  await delay(Number(values.settle) * 1000);
}

async function run(bench: BenchServer): Promise<void> {
  const client = await bench.connect('disk');
  const filling = stopwatch();
  await fill(client, content, liveBlocks);
  progress(`overwrite: ${formatSize(liveBytes)} filled in ${seconds(filling())}`);
  const sample = createSampler(bench, (await bench.status()).store.bytesUp);
  await sample();
  await watching(Number(values.every), sample, () => load(bench, client));
  await sample();
  client.close();
  reportOverwrite(samples, stopped);
  if (stopped !== undefined) process.exitCode = 1;
  await bench.server.stop();
  const readySeconds = await bench.restart();
  const again = await bench.connect('disk');
  await verifySome(again, content, liveBlocks, VERIFIED_BLOCKS);
  again.close();
  say(`ready again after ${seconds(readySeconds)}; ${VERIFIED_BLOCKS} blocks read back right`);
  await writeCsv(values.csv, samples);
}

await withBenchServer(
  {
    dir: values.dir,
    volumes: { disk: String(sizeBytes) },
    needsBytes: 2 * liveBytes,
    flags: ['--cache-memory', values['cache-memory'], ...words(values.serve)],
  },
  run,
);

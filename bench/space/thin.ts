// A thin volume of 1 TiB under random writes: what the server's memory, its start after `kill -9`
// and its bucket cost per byte written, not per byte of size.
//
//   node bench/space/thin.ts [--bytes 32G] [--size 1T] [--block 16K] [--depth 16] [--flush 1024]
//                            [--cache-memory 256M] [--seed 1] [--dir DIR] [--csv FILE]
//                            [--disk 48G] [--serve FLAGS]
//
// At an eighth, a quarter, half and all of the bytes: FLUSH, kill -9, start, the first read, and a
// few hundred cold reads that must give what was written.

import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/size.ts';
import { printTable } from '../device.ts';
import {
  type BenchServer,
  COMMON_OPTIONS,
  withBenchServer,
  words,
} from './support/bench-server.ts';
import { Content } from './support/content.ts';
import { Latencies } from './support/latencies.ts';
import { atDepth, stopwatch, watching } from './support/load.ts';
import type { NbdClient } from './support/nbd-client.ts';
import { formatSize, mib, plot, progress, rate, say, seconds, writeCsv } from './support/output.ts';

const CHECKPOINTS = [1 / 8, 1 / 4, 1 / 2, 1];
const COLD_READS = 300;
/** Every so many written blocks one is kept, to be read again. */
const REMEMBER_EVERY = 64;
const PROGRESS_SECONDS = 10;

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '32G' },
    size: { type: 'string', default: '1T' },
    block: { type: 'string', default: '16K' },
    depth: { type: 'string', default: '16' },
    flush: { type: 'string', default: '1024' },
    'cache-memory': { type: 'string', default: '256M' },
    seed: { type: 'string', default: '1' },
    /** What the bucket may grow to: past it the bench ends. */
    disk: { type: 'string', default: '48G' },
    ...COMMON_OPTIONS,
  },
});

interface Sample {
  readonly seconds: number;
  readonly writtenBytes: number;
  readonly residentBytes: number;
  readonly peakBytes: number;
}

const totalBytes = parseSize(values.bytes);
const cacheBytes = parseSize(values['cache-memory']);
const depth = Number(values.depth);
const flushEvery = Number(values.flush);
const content = new Content(parseSize(values.size), parseSize(values.block), Number(values.seed));
const remembered: number[] = [];
const samples: Sample[] = [];
const elapsed = stopwatch();
let requests = 0;
let written = 0;

/** Random writes until `target` bytes are written and flushed. */
async function writeUntil(client: NbdClient, target: number): Promise<void> {
  const blocks = Math.ceil(target / content.blockBytes);
  await atDepth(depth, () => {
    if (written >= blocks) return undefined;
    requests += 1;
    if (requests % flushEvery === 0) return client.flush();
    written += 1;
    const block = content.pick();
    if (written % REMEMBER_EVERY === 0) remembered.push(block);
    return content.write(client, block);
  });
  await client.flush();
}

function sampleMemory(bench: BenchServer): void {
  const memory = bench.memory();
  const sample = { seconds: elapsed(), writtenBytes: written * content.blockBytes, ...memory };
  samples.push(sample);
  if (samples.length % PROGRESS_SECONDS !== 0) return;
  progress(`thin: ${formatSize(sample.writtenBytes)} written, RSS ${mib(memory.residentBytes)}`);
}

interface Crash {
  readonly readySeconds: number;
  readonly readSeconds: number;
  readonly startBytes: number;
  readonly coldMedianMs: number;
  readonly client: NbdClient;
}

async function crash(bench: BenchServer, client: NbdClient): Promise<Crash> {
  client.close();
  await bench.server.kill9();
  const fromSpawn = stopwatch();
  const readySeconds = await bench.restart();
  const again = await bench.connect('thin');
  await content.verify(again, remembered.at(-1)!);
  const readSeconds = fromSpawn();
  const startBytes = bench.memory().peakBytes;
  const latencies = new Latencies();
  for (let i = 0; i < COLD_READS; i++) {
    const block = remembered[Math.floor((i * remembered.length) / COLD_READS)]!;
    const taken = stopwatch();
    await content.verify(again, block);
    latencies.add(taken() * 1000);
  }
  const coldMedianMs = latencies.percentile(0.5);
  return { readySeconds, readSeconds, startBytes, coldMedianMs, client: again };
}

async function run(bench: BenchServer): Promise<void> {
  const rows: string[][] = [];
  let client = await bench.connect('thin');
  let peakBytes = 0;
  for (const share of CHECKPOINTS) {
    const before = { written, taken: stopwatch() };
    await watching(
      1,
      () => sampleMemory(bench),
      () => writeUntil(client, totalBytes * share),
    );
    const taken = before.taken();
    sampleMemory(bench);
    peakBytes = Math.max(peakBytes, ...samples.map((one) => one.peakBytes));
    const bucket = bench.bucket.measure();
    const memory = bench.memory();
    const after = await crash(bench, client);
    client = after.client;
    rows.push([
      formatSize(written * content.blockBytes),
      rate((written - before.written) * content.blockBytes, taken),
      mib(memory.residentBytes),
      mib(peakBytes),
      mib(peakBytes - cacheBytes),
      seconds(after.readySeconds),
      seconds(after.readSeconds),
      mib(after.startBytes),
      `${after.coldMedianMs.toFixed(1)} ms`,
      mib(bucket.bytes),
      String(bucket.objects),
      formatSize(bucket.byFolder.get('tables')?.bytes ?? 0),
    ]);
    progress(`thin: ${rows.at(-1)!.join('  ')}`);
    const stopped = bench.overDisk(bucket, parseSize(values.disk));
    if (stopped !== undefined) {
      say(`stopped early: ${stopped}`);
      process.exitCode = 1;
      break;
    }
  }
  client.close();
  report(rows);
  await writeCsv(values.csv, samples);
}

function report(rows: readonly string[][]): void {
  printTable(
    [
      'written',
      'rate',
      'RSS',
      'peak RSS',
      'peak − cache',
      'ready',
      'first read',
      'peak at start',
      'cold read',
      'bucket',
      'objects',
      'tables',
    ],
    rows,
  );
  const points = samples.map((one) => ({
    label: `${one.seconds.toFixed(0)} s  ${formatSize(one.writtenBytes)}`,
    value: one.residentBytes,
  }));
  say(plot('resident size of the server', points, mib));
}

await withBenchServer(
  {
    dir: values.dir,
    volumes: { thin: values.size },
    needsBytes: totalBytes,
    flags: ['--cache-memory', values['cache-memory'], ...words(values.serve)],
  },
  run,
);

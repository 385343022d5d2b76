// The device beside nbdkit's memory plugin: the same fio jobs on both, in alternation, so that a
// noisy machine hurts both alike. Prints the median rate of each and the ratio of the pairs'
// medians; then writes many gigabytes and prints the largest resident size.
//
// nbdkit keeps plain bytes in memory and promises nothing; varve compresses, seals and uploads what
// it is given. Where it is slower, the table shows by how much.

import { readFile } from 'node:fs/promises';
import { formatSize } from '../src/cli/size.ts';
import { startServer, type TestServer } from '../test/support/server.ts';
import { fio, type FioJob } from './fio.ts';
import { startNbdkit } from './nbdkit.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const DEVICE = 4 * GIB;
/** Fits the cache, so that reads are of memory on both sides. */
const WORKING_SET = 128 * MIB;
const CACHE = 256 * MIB;
const RSS_SAMPLE_MS = 200;

export interface DeviceBenchOptions {
  /** Default: a directory in the temporary folder. */
  readonly store?: string;
  readonly rounds: number;
  readonly seconds: number;
  /** Bytes written while the resident size is watched. 0 leaves it out. */
  readonly writeBytes: number;
}

function jobs(seconds: number): FioJob[] {
  const sizeBytes = WORKING_SET;
  const small = { blockBytes: 4096, sizeBytes, seconds };
  const large = { blockBytes: MIB, sizeBytes, seconds };
  return [
    { name: '4 KiB random read, depth 32', rw: 'randread', depth: 32, ...small },
    { name: '4 KiB random read, depth 1', rw: 'randread', depth: 1, ...small },
    { name: '1 MiB read, depth 4', rw: 'read', depth: 4, ...large },
    { name: '4 KiB random write, depth 32', rw: 'randwrite', depth: 32, ...small },
    { name: '4 KiB random write, depth 1', rw: 'randwrite', depth: 1, ...small },
    { name: '1 MiB write, depth 4', rw: 'write', depth: 4, ...large },
  ];
}

export async function benchDevice(options: DeviceBenchOptions): Promise<void> {
  await using open = new AsyncDisposableStack();
  const server = await startServer({
    ...(options.store === undefined ? {} : { store: options.store }),
    volumes: { disk: formatSize(DEVICE) },
    flags: ['--cache-memory', formatSize(CACHE), '--log-level', 'warn'],
  });
  open.defer(() => server.remove());
  const nbdkit = await startNbdkit(server.dir, 'memory', DEVICE, open);
  const fill: FioJob = {
    name: 'fill',
    rw: 'write',
    depth: 4,
    blockBytes: MIB,
    sizeBytes: WORKING_SET,
  };
  const rows: string[][] = [];
  for (const job of jobs(options.seconds)) {
    const rates: [number[], number[]] = [[], []];
    for (let round = 0; round < options.rounds; round++) {
      for (const [at, uri] of [server.uri, nbdkit].entries()) {
        if (round === 0 && !job.rw.endsWith('write')) await fio(uri, fill);
        rates[at]!.push((await fio(uri, job)).iops);
      }
    }
    const [ours, theirs] = rates.map(median) as [number, number];
    rows.push([job.name, perSecond(ours), perSecond(theirs), `${(ours / theirs).toFixed(2)}×`]);
    process.stderr.write(`${rows.at(-1)!.join('  ')}\n`);
  }
  printTable(['fio, nbd engine', 'varve', 'nbdkit memory', 'ratio'], rows);
  if (options.writeBytes > 0) await watchMemory(server, options.writeBytes);
}

/** Random 64 KiB writes over the whole device, and the largest resident size meanwhile. */
async function watchMemory(server: TestServer, writeBytes: number): Promise<void> {
  let largestKiB = 0;
  const timer = setInterval(() => {
    void residentKiB(server.pid).then((kib) => (largestKiB = Math.max(largestKiB, kib)));
  }, RSS_SAMPLE_MS);
  try {
    const { bytesPerSecond } = await fio(server.uri, {
      name: 'large',
      rw: 'randwrite',
      depth: 16,
      blockBytes: 65_536,
      sizeBytes: DEVICE,
      totalBytes: writeBytes,
      timeoutMs: 3_600_000,
    });
    const beyond = largestKiB / 1024 - CACHE / MIB;
    process.stdout.write(
      `\n${formatSize(writeBytes)} written at ${(bytesPerSecond / MIB).toFixed(0)} MiB/s: ` +
        `largest resident size ${(largestKiB / 1024).toFixed(0)} MiB, ` +
        `the cache's ${CACHE / MIB} MiB + ${beyond.toFixed(0)} MiB\n`,
    );
  } finally {
    clearInterval(timer);
  }
}

async function residentKiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function perSecond(rate: number): string {
  return `${Math.round(rate).toLocaleString('en')}/s`;
}

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((_, c) => Math.max(...[head, ...rows].map((row) => row[c]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)))
      .join('  ');
  process.stdout.write(`\n${line(head)}\n${rows.map(line).join('\n')}\n`);
}

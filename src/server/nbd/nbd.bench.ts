// Compares the server on an in-memory device with nbdkit's memory plugin: the same fio jobs on
// both, in alternation, so that a noisy machine hurts both alike. Prints the median rate of each
// and the ratio.
//
//   node src/server/nbd/nbd.bench.ts [rounds] [seconds per job]

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createMemoryVolume, memoryDirectory } from '../../../test/support/memory-device.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { NBD_SERVER_DEFAULTS, startNbdServer } from './server.ts';

const SIZE = 256 * 1024 * 1024;

interface Job {
  readonly name: string;
  readonly options: readonly string[];
}

const JOBS: readonly Job[] = [
  { name: '4 KiB random read, depth 32', options: ['--rw=randread', '--bs=4k', '--iodepth=32'] },
  { name: '4 KiB random read, depth 1', options: ['--rw=randread', '--bs=4k', '--iodepth=1'] },
  { name: '4 KiB random write, depth 32', options: ['--rw=randwrite', '--bs=4k', '--iodepth=32'] },
  { name: '4 KiB random write, depth 1', options: ['--rw=randwrite', '--bs=4k', '--iodepth=1'] },
  { name: '64 KiB read, depth 16', options: ['--rw=randread', '--bs=64k', '--iodepth=16'] },
  { name: '1 MiB write, depth 4', options: ['--rw=write', '--bs=1m', '--iodepth=4'] },
];

function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} failed with ${code}: ${output}`));
    });
  });
}

/** Requests per second of one fio run. */
async function fio(socket: string, options: readonly string[], seconds: number): Promise<number> {
  const output = await run('fio', [
    '--name=bench',
    '--ioengine=nbd',
    `--uri=nbd+unix:///?socket=${socket}`,
    '--time_based',
    `--runtime=${seconds}`,
    '--output-format=json',
    ...options,
  ]);
  const report: unknown = JSON.parse(output.slice(output.indexOf('{')));
  const { jobs } = report as { jobs: { read: { iops: number }; write: { iops: number } }[] };
  return jobs[0]!.read.iops + jobs[0]!.write.iops;
}

async function waitFor(socket: string): Promise<void> {
  while (!existsSync(socket)) await systemClock.sleep(20);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

async function compare(rounds: number, seconds: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'nbd-bench-'));
  const ours = join(directory, 'ours');
  const theirs = join(directory, 'nbdkit');
  const children: ChildProcess[] = [
    spawn(process.execPath, [fileURLToPath(import.meta.url), 'serve', ours], { stdio: 'inherit' }),
    spawn('nbdkit', ['-f', '-U', theirs, 'memory', `${SIZE}`], { stdio: 'inherit' }),
  ];
  try {
    for (const socket of [ours, theirs]) {
      await waitFor(socket);
      await fio(socket, ['--rw=write', '--bs=1m', `--size=${SIZE}`, '--loops=1'], 2);
    }
    for (const { name, options } of JOBS) {
      const rates: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
      for (let round = 0; round < rounds; round++) {
        rates.ours.push(await fio(ours, options, seconds));
        rates.theirs.push(await fio(theirs, options, seconds));
      }
      const [mine, other] = [median(rates.ours), median(rates.theirs)];
      const figures = `${mine.toFixed(0).padStart(9)} /s ${other.toFixed(0).padStart(9)} /s`;
      process.stdout.write(`${name.padEnd(30)} ${figures} ${(mine / other).toFixed(2)}x\n`);
    }
  } finally {
    for (const child of children) child.kill();
    await rm(directory, { recursive: true, force: true });
  }
}

async function serve(path: string): Promise<void> {
  const directory = memoryDirectory([createMemoryVolume('disk', SIZE)]);
  const server = await startNbdServer(
    { directory, clock: systemClock, log: silentLog },
    { ...NBD_SERVER_DEFAULTS, addresses: [{ path }] },
  );
  process.once('SIGTERM', () => void server.stop());
}

if (process.argv[2] === 'serve') await serve(process.argv[3]!);
else await compare(Number(process.argv[2] ?? 3), Number(process.argv[3] ?? 2));

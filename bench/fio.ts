// fio's nbd engine as a function: one job, one rate.

import { runCommand } from '../test/support/command.ts';

const GRACE_MS = 60_000;

export interface FioJob {
  readonly name: string;
  readonly rw: 'read' | 'write' | 'randread' | 'randwrite';
  readonly blockBytes: number;
  readonly depth: number;
  /** The part of the device that is used. */
  readonly sizeBytes: number;
  /** Runs for so long, over and over the part; without it, once. */
  readonly seconds?: number;
  /** A flush after so many writes. */
  readonly fsyncEvery?: number;
  /** Bytes written in total, for random writes over a part that is smaller or larger. */
  readonly totalBytes?: number;
  readonly timeoutMs?: number;
}

export interface FioResult {
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Of flushes, in milliseconds; undefined when there were none. */
  readonly flushMedianMs: number | undefined;
}

interface Side {
  readonly iops: number;
  readonly bw_bytes: number;
}

export async function fio(uri: string, job: FioJob): Promise<FioResult> {
  const timed = job.seconds === undefined ? [] : ['--time_based', `--runtime=${job.seconds}`];
  const output = await runCommand(
    'fio',
    [
      '--name=bench',
      '--ioengine=nbd',
      `--uri=${uri}`,
      `--rw=${job.rw}`,
      `--bs=${job.blockBytes}`,
      `--iodepth=${job.depth}`,
      `--size=${job.sizeBytes}`,
      ...(job.totalBytes === undefined ? [] : [`--io_size=${job.totalBytes}`]),
      ...(job.fsyncEvery === undefined ? [] : [`--fsync=${job.fsyncEvery}`]),
      ...timed,
      '--norandommap',
      '--randrepeat=0',
      '--output-format=json',
    ],
    { timeoutMs: job.timeoutMs ?? (job.seconds ?? 60) * 1000 + GRACE_MS },
  );
  // fio says a line of its own before the report.
  const report: unknown = JSON.parse(output.slice(output.indexOf('{')));
  const { jobs } = report as {
    jobs: { read: Side; write: Side; sync: { lat_ns: { percentile?: Record<string, number> } } }[];
  };
  const { read, write, sync } = jobs[0]!;
  const median = sync.lat_ns.percentile?.['50.000000'];
  return {
    iops: read.iops + write.iops,
    bytesPerSecond: read.bw_bytes + write.bw_bytes,
    flushMedianMs: median === undefined ? undefined : median / 1e6,
  };
}

// One `varve serve` on a directory store for a bench: everything of it lies in one temporary
// folder, which is gone when the bench ends, fails or is interrupted.

import { readFileSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { formatSize } from '../../../src/cli/size.ts';
import { createAdminClient } from '../../../src/server/http/client.ts';
import type { StatusReport } from '../../../src/server/http/report.ts';
import { startServer, type TestServer } from '../../../test/support/server.ts';
import { Bucket, type BucketUse } from './bucket.ts';
import { stopwatch } from './load.ts';
import { NbdClient } from './nbd-client.ts';

/** What is left free on the disk, whatever the bucket grows to. */
const DISK_RESERVE_BYTES = 8 * 1024 ** 3;
const EXIT_INTERRUPTED = 130;
const IDLE_MS = 2000;
const IDLE_TRIES = 60;

export interface BenchServerOptions {
  /** Holds the temporary folder. */
  readonly dir: string;
  readonly volumes: Readonly<Record<string, string>>;
  readonly flags: readonly string[];
  /** What the bucket will hold at least. */
  readonly needsBytes: number;
}

export interface Memory {
  readonly residentBytes: number;
  /** The largest since the process started. */
  readonly peakBytes: number;
}

export interface BenchServer {
  readonly server: TestServer;
  readonly bucket: Bucket;
  /** Says why no more may be written: the bucket reached its bound, or the disk is nearly full. */
  overDisk(use: BucketUse, bytesMax: number): string | undefined;
  connect(volume: string): Promise<NbdClient>;
  /**
   * Asks admin.sock from this process. The server walks the volumes' maps: not for every second.
   */
  status(): Promise<StatusReport>;
  memory(): Memory;
  /** Resolves when the server sends the store nothing by itself any more. */
  idle(): Promise<void>;
  /** Starts it again; resolves with the seconds from spawn to the `ready` line. */
  restart(more?: readonly string[]): Promise<number>;
}

/** Runs `body` with a new store and its server; removes all of it afterwards. */
export async function withBenchServer<T>(
  options: BenchServerOptions,
  body: (bench: BenchServer) => Promise<T>,
): Promise<T> {
  const dir = resolve(options.dir);
  // What starts servers asks os.tmpdir() where: this is its only seam.
  process.env['TMPDIR'] = dir;
  if (freeBytes(dir) < options.needsBytes) {
    const needed = formatSize(options.needsBytes + DISK_RESERVE_BYTES);
    throw new Error(`${dir} has less than ${needed} free: name another with --dir`);
  }
  // Ctrl-C comes to this process alone, which removes what the server leaves; while it starts too.
  const over = new AbortController();
  let remove = async (): Promise<void> => {};
  const interrupted = (): void => {
    over.abort();
    void remove().finally(() => process.exit(EXIT_INTERRUPTED));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  const starting = startServer({
    volumes: options.volumes,
    flags: ['--log-level', 'warn', ...options.flags],
    detached: true,
  });
  remove = async () => (await starting).remove();
  const server = await starting;
  const status = (): Promise<StatusReport> =>
    createAdminClient(join(server.stateDir, 'admin.sock')).status();
  try {
    return await body({
      server,
      bucket: new Bucket(server.storeDir),
      overDisk: (use, bytesMax) => overDisk(dir, use, bytesMax),
      connect: (volume) => NbdClient.connect(join(server.dir, 'nbd.sock'), volume),
      status,
      idle: () => idle(status),
      memory: () => memoryOf(server.pid),
      async restart(more) {
        const elapsed = stopwatch();
        await server.restart(more);
        return elapsed();
      },
    });
  } catch (error) {
    // The server was taken away: that it is gone is no news.
    if (over.signal.aborted) await new Promise(() => {});
    // What it warned of says more than the error that its client saw.
    const { stderr } = await server.stop('SIGKILL');
    if (stderr !== '') process.stderr.write(`the server said: ${stderr}\n`);
    throw error;
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    await server.remove();
  }
}

function overDisk(dir: string, { bytes }: BucketUse, bytesMax: number): string | undefined {
  if (bytes > bytesMax) return `the bucket holds ${formatSize(bytes)}, more than --disk`;
  const free = freeBytes(dir);
  return free > 0 ? undefined : `${dir} is nearly full`;
}

/** Without the reserve. */
function freeBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize - DISK_RESERVE_BYTES;
}

async function idle(status: () => Promise<StatusReport>): Promise<void> {
  let before = -1;
  for (let attempt = 0; attempt < IDLE_TRIES; attempt++) {
    const { store } = await status();
    if (store.put + store.delete === before) return;
    before = store.put + store.delete;
    await delay(IDLE_MS);
  }
  throw new Error(`the server is not idle after ${(IDLE_TRIES * IDLE_MS) / 1000} s`);
}

function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
  return { residentBytes: of('VmRSS'), peakBytes: of('VmHWM') };
}

/** Flags that every bench takes. */
export const COMMON_OPTIONS = {
  dir: { type: 'string', default: tmpdir() },
  csv: { type: 'string' },
  /** More flags of `varve serve`, separated by spaces. */
  serve: { type: 'string', default: '' },
} as const;

export function words(text: string): string[] {
  return text.split(' ').filter((word) => word !== '');
}

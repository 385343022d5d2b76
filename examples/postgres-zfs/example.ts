// Everything that the example stands on, up and down again; scenario.ts is what happens on it.

import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../../test/support/server.ts';
import { openBucket } from '../postgres/bucket.ts';
import { say } from '../support/demo.ts';
import { Database } from './database.ts';
import { attachFile, attachVarve, type Device } from './devices.ts';
import type { Logbias } from './pool.ts';
import { type Recovery, type Run, Scenario, type Space } from './scenario.ts';

const MIB = 1024 * 1024;

export interface ExampleOptions {
  /** Undefined: a gateway of its own. */
  readonly store: string | undefined;
  readonly endpoint: string | undefined;
  readonly tier: 'store' | 'journal';
  readonly scale: number;
  readonly seconds: number;
  readonly clients: number;
  readonly commits: number;
  readonly recordsize: string;
  readonly logbias: Logbias;
  readonly volumeMiB: number;
  readonly arcMiB: number;
  readonly l2arcMiB: number;
  /** varve's. */
  readonly memoryMiB: number;
  readonly diskMiB: number;
}

/** Each cache is smaller than what it is asked for, but for varve's disk. */
export const DEFAULTS: ExampleOptions = {
  store: undefined,
  endpoint: undefined,
  tier: 'store',
  scale: 50,
  seconds: 10,
  clients: 50,
  commits: 2000,
  recordsize: '8K',
  logbias: 'latency',
  volumeMiB: 3072,
  arcMiB: 64,
  l2arcMiB: 512,
  memoryMiB: 64,
  diskMiB: 2048,
};

export interface Result {
  readonly runs: readonly Run[];
  readonly recovery: Recovery;
  readonly space: Space;
}

export async function runExample(options: ExampleOptions, signal: AbortSignal): Promise<Result> {
  await using open = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'varve-zfs-'));
  // The user of PostgreSQL must get through to its own folders.
  await chmod(dir, 0o755);
  open.defer(() => rm(dir, { recursive: true, force: true }));
  say(options.store === undefined ? 'starting Ceph RGW' : `opening ${options.store}`);
  const bucket = await openBucket({
    url: options.store,
    endpoint: options.endpoint,
    folder: join(dir, 'store'),
    env: process.env,
  });
  open.defer(() => bucket.close());
  signal.throwIfAborted();
  const server = await startServer({
    store: bucket.url,
    storeFlags: bucket.flags,
    env: bucket.env,
    volumes: { disk: `${options.volumeMiB}M` },
    flags: [
      '--durability',
      options.tier,
      '--cache-memory',
      `${options.memoryMiB}M`,
      '--cache-disk',
      `${options.diskMiB}M`,
    ],
    detached: true,
  });
  open.defer(() => server.remove());
  const onVarve = await database('varve', () => attachVarve(server));
  const disk = join(dir, 'file', 'disk');
  const onFile = await database('file', () => attachFile(disk, options.volumeMiB * MIB));
  open.defer(() => say('cleaning up'));

  const bucketBytes = async (): Promise<number> => (await bucket.used()).bytes;
  const scenario = new Scenario({ ...options, server, onVarve, onFile, bucketBytes });
  await scenario.create();
  await scenario.measure();
  const recovery = await scenario.crash();
  const space = await scenario.space();
  await onVarve.down();
  await onFile.down();
  const { code, stderr } = await server.stop();
  if (code !== 0) throw new Error(`varve serve exited with ${code}: ${stderr}`);
  return { runs: scenario.runs, recovery, space };

  async function database(name: string, attach: () => Promise<Device>): Promise<Database> {
    const folder = join(dir, name);
    await mkdir(folder);
    const one = new Database({
      dir: folder,
      arcMiB: options.arcMiB,
      recordsize: options.recordsize,
      logbias: options.logbias,
      attach,
      attachL2arc: () => attachFile(join(folder, 'l2arc'), options.l2arcMiB * MIB),
      signal,
    });
    open.defer(() => one.release());
    return one;
  }
}

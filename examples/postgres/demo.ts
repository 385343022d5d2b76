// `npm run demo:postgres [-- --store URL --scale N --seconds N --clients N --keep]`
//
// PostgreSQL on ext4 on a volume whose bytes are in an object store: how fast it is, what it costs
// in requests, and what is left of it when the server is killed in the middle of commits.
//
//   1. an S3 server, varve on it, the volume attached, ext4, initdb
//   2. pgbench: read-write with synchronous_commit on, then off, then read-only
//   3. clients that note every acknowledged commit; kill -9 of varve; everything above it falls
//   4. varve again, mount, e2fsck, PostgreSQL's recovery, every noted commit, pgbench's sums,
//      pg_amcheck
//   5. one table, and everything that was started is stopped again: also after Ctrl-C or a failure

import { parseArgs } from 'node:util';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../../test/support/server.ts';
import { runDemo, say } from '../support/demo.ts';
import { checkAcknowledged, startAckedWriters } from './acked-writer.ts';
import { openBucket } from './bucket.ts';
import { Machine } from './machine.ts';
import { formatRuns, formatSpace, type Row } from './report.ts';

const VOLUME_SIZE = '16G';
/** Enough that the crash hits many commits in every state, few enough to take seconds. */
const ACKNOWLEDGED_BEFORE_CRASH = 2000;
const WRITERS = 8;

interface Options {
  readonly store: string | undefined;
  readonly endpoint: string | undefined;
  readonly scale: number;
  readonly seconds: number;
  readonly clients: number;
  readonly keep: boolean;
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      store: { type: 'string' },
      's3-endpoint': { type: 'string' },
      scale: { type: 'string', default: '20' },
      seconds: { type: 'string', default: '15' },
      clients: { type: 'string', default: '16' },
      keep: { type: 'boolean', default: false },
    },
  });
  const count = (name: 'scale' | 'seconds' | 'clients'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  return {
    store: values.store,
    endpoint: values['s3-endpoint'],
    scale: count('scale'),
    seconds: count('seconds'),
    clients: count('clients'),
    keep: values.keep,
  };
}

async function demo(options: Options, signal: AbortSignal): Promise<void> {
  await using open = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'varve-demo-'));
  open.defer(() => rm(folder, { recursive: true, force: true }));
  say(options.store === undefined ? 'starting Ceph RGW' : `opening ${options.store}`);
  const bucket = await openBucket({
    url: options.store,
    endpoint: options.endpoint,
    folder: join(folder, 'store'),
    env: process.env,
  });
  open.defer(() => bucket.close());
  signal.throwIfAborted();
  say(`store: ${bucket.description}`);
  const server = await startServer({
    store: bucket.url,
    storeFlags: bucket.flags,
    env: bucket.env,
    volumes: { disk: VOLUME_SIZE },
    detached: true,
  });
  open.defer(() => server.remove());
  const machine = new Machine({ server, signal });
  open.defer(() => machine.release());
  open.defer(() => say('cleaning up'));
  await machine.create();
  say(`PostgreSQL runs on ext4 on ${machine.how}`);

  const rows = await measure(machine, options);
  await crashAndRecover(machine, options);
  const status = await machine.server.status();
  const sum = 'SELECT sum(pg_database_size(oid)) FROM pg_database';
  const databaseBytes = Number(await machine.postgres.query(sum));
  const { objects, bytes } = await bucket.used();
  const volumeBytes = status.volumes[0]!.used;
  process.stdout.write(`\n${formatRuns(rows)}\n`);
  process.stdout.write(formatSpace({ objects, bucketBytes: bytes, volumeBytes, databaseBytes }));
  if (options.keep) {
    say(`kept until Ctrl-C: ${machine.postgres.psqlCommand}`);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    return;
  }
  await machine.shutDown();
  say('shut down cleanly, varve exited with 0');
}

async function measure(machine: Machine, options: Options): Promise<readonly Row[]> {
  const { postgres } = machine;
  const rows: Row[] = [];
  async function run(name: string, work: () => Promise<Partial<Row>>): Promise<void> {
    say(name);
    const before = await machine.server.status();
    const started = performance.now();
    const result = await work();
    const seconds = (performance.now() - started) / 1000;
    rows.push({ run: name, seconds, before, after: await machine.server.status(), ...result });
    if (result.tps !== undefined) say(`${name}: ${result.tps.toFixed(0)} TPS`);
  }
  await run(`pgbench -i, scale ${options.scale}`, async () => {
    await postgres.pgbenchInit(options.scale);
    await postgres.query('CHECKPOINT');
    return {};
  });
  const load = ['-c', String(options.clients), '-j', '2', '-T', String(options.seconds)];
  await run('read-write, synchronous_commit on', () => postgres.pgbench(load));
  const lazy = '-c synchronous_commit=off';
  await run('read-write, synchronous_commit off', () => postgres.pgbench(load, lazy));
  await run('read-only', () => postgres.pgbench(['-S', ...load]));
  return rows;
}

async function crashAndRecover(machine: Machine, { seconds }: Options): Promise<void> {
  const { postgres } = machine;
  say(`${WRITERS} clients note their acknowledged commits while pgbench runs beside them`);
  // What recovery must replay is then what happens from here on, not the minutes of load before.
  await postgres.query('CHECKPOINT');
  const writers = await startAckedWriters(postgres, WRITERS);
  // It is still running when the server is killed, and fails with it.
  const pgbench = postgres.pgbench(['-c', '4', '-T', String(seconds + 600)]);
  const pgbenchEnded = pgbench.then(
    () => {},
    () => {},
  );
  try {
    await writers.reach(ACKNOWLEDGED_BEFORE_CRASH);
    say('kill -9 of varve');
    await machine.crash();
  } finally {
    await writers.end();
    await machine.postgres.kill();
    await pgbenchEnded;
  }
  const { size } = writers.acknowledged;
  say(`${size} commits were acknowledged before it; starting again`);
  const started = performance.now();
  await machine.recover();
  const took = ((performance.now() - started) / 1000).toFixed(1);
  say(`after ${took} s: journal replayed, e2fsck finds nothing, PostgreSQL has recovered`);
  const { unacknowledged } = await checkAcknowledged(postgres, writers.acknowledged);
  say(`all ${size} acknowledged commits are there, and ${unacknowledged} without their answer`);
  await postgres.checkBalances();
  say("pgbench's sums agree");
  await postgres.amcheck();
  say('pg_amcheck finds nothing');
}

process.exitCode = await runDemo(async (signal) => {
  await demo(readOptions(process.argv.slice(2)), signal);
});

// PostgreSQL on ext4 on a device, pgbench read-write with synchronous_commit=on: the journal tier
// and the store tier beside nbdkit's memory plugin and its file plugin, in alternation in one run,
// over a real S3 server. Prints each round, the medians, and what the store was asked for.
//
//   node bench/pgbench.ts [--scale 20] [--clients 16] [--seconds 30] [--rounds 3]
//                         [--tiers memory,file,journal,store] [--store file]
//
// With --store file the bucket is a directory: for a look without the S3 server.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Machine, type MachineServer } from '../examples/postgres/machine.ts';
import { openGateway } from '../test/support/gateway.ts';
import { type ServerOptions, startServer } from '../test/support/server.ts';
import { type NbdkitPlugin, startNbdkit } from './nbdkit.ts';

const { values } = parseArgs({
  options: {
    scale: { type: 'string', default: '20' },
    clients: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '30' },
    rounds: { type: 'string', default: '3' },
    tiers: { type: 'string', default: 'memory,file,journal,store' },
    store: { type: 'string', default: 's3' },
  },
});

const DEVICE = '8G';
const DEVICE_BYTES = 8 * 1024 ** 3;

interface Requests {
  readonly put: number;
  readonly get: number;
  readonly flushes: number;
}

interface Stack {
  readonly name: string;
  readonly machine: Machine<MachineServer>;
  requests(): Promise<Requests>;
  readonly tps: number[];
  readonly asked: Requests[];
}

const load = ['-c', values.clients, '-j', '2', '-T', values.seconds];

async function openVarve(
  name: string,
  options: ServerOptions,
  open: AsyncDisposableStack,
): Promise<Stack> {
  const server = await startServer({
    ...options,
    volumes: { disk: DEVICE },
    flags: ['--durability', name, '--log-level', 'warn', '--cache-memory', '2G'],
  });
  open.defer(() => server.remove());
  const requests = async (): Promise<Requests> => {
    const { store, barriers } = await server.status();
    return { put: store.put, get: store.get, flushes: barriers };
  };
  return stackOn(name, server, requests, open);
}

async function openNbdkit(name: NbdkitPlugin, open: AsyncDisposableStack): Promise<Stack> {
  const dir = await mkdtemp(join(tmpdir(), 'varve-nbdkit-'));
  open.defer(() => rm(dir, { recursive: true, force: true }));
  const uri = await startNbdkit(dir, name, DEVICE_BYTES, open);
  return stackOn(name, { dir, uri }, () => Promise.resolve({ put: 0, get: 0, flushes: 0 }), open);
}

async function stackOn(
  name: string,
  server: MachineServer,
  requests: Stack['requests'],
  open: AsyncDisposableStack,
): Promise<Stack> {
  const machine = new Machine<MachineServer>({ server });
  open.defer(() => machine.release());
  await machine.create();
  await machine.postgres.pgbenchInit(Number(values.scale));
  // Only one cluster runs at a time: they share the port, and the machine.
  await machine.postgres.stop('fast');
  process.stderr.write(`${name}: scale ${values.scale} on ${machine.how}\n`);
  return { name, machine, requests, tps: [], asked: [] };
}

async function round(stack: Stack): Promise<void> {
  const { machine, tps, asked, name } = stack;
  await machine.postgres.start();
  await machine.postgres.query('CHECKPOINT');
  const before = await stack.requests();
  const result = await machine.postgres.pgbench(load);
  const after = await stack.requests();
  tps.push(result.tps);
  asked.push({
    put: after.put - before.put,
    get: after.get - before.get,
    flushes: after.flushes - before.flushes,
  });
  await machine.postgres.stop('fast');
  const { put, get, flushes } = asked.at(-1)!;
  process.stdout.write(
    `round ${tps.length}  ${name.padEnd(8)} ${result.tps.toFixed(0).padStart(6)} TPS, ` +
      `${result.latencyMs.toFixed(2)} ms, ${put} PUT, ${get} GET, ${flushes} flushes\n`,
  );
}

await using open = new AsyncDisposableStack();
const stacks: Stack[] = [];
const gateway = values.store === 's3' ? await openGateway() : undefined;
if (gateway !== undefined) open.defer(() => gateway.stop());
for (const tier of values.tiers.split(',')) {
  if (tier === 'memory' || tier === 'file') stacks.push(await openNbdkit(tier, open));
  else stacks.push(await openVarve(tier, gateway?.serverOptions(`pgbench-${tier}`) ?? {}, open));
}
for (let i = 0; i < Number(values.rounds); i++) for (const stack of stacks) await round(stack);

const base = stacks.find(({ name }) => name === 'memory');
for (const { name, tps, asked } of stacks) {
  const ratios = tps.map((one, i) => one / (base?.tps[i] ?? NaN));
  const puts = asked.map(({ put }) => put);
  const each = ratios.map((one) => one.toFixed(2)).join(', ');
  process.stdout.write(
    `${name.padEnd(8)} median ${median(tps).toFixed(0)} TPS, ` +
      `${median(ratios).toFixed(2)}× of memory (${each}), ${median(puts)} PUT\n`,
  );
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

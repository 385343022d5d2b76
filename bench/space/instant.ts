// Snapshots, branches and restore of a large volume: how long each takes and how many requests to
// the store, which must not depend on the volume's size.
//
//   node bench/space/instant.ts [--bytes 16G] [--overwrite 256M] [--seed 1] [--dir DIR] [--csv
//   FILE]
//                               [--serve FLAGS]
//
// Each step is asked for over the admin socket, so that no command's start is timed. The report of
// what was asked makes requests of its own (it walks the volumes' maps): they are told under
// `status alone`.
//
//   fill ─ snapshot ─ overwrite some ─ branch from the snapshot ─ restore ─ read back ─ serve the
//   branch ─ read back ─ delete the snapshot

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/size.ts';
import { type AdminClient, createAdminClient } from '../../src/server/http/client.ts';
import { printTable } from '../device.ts';
import {
  type BenchServer,
  COMMON_OPTIONS,
  withBenchServer,
  words,
} from './support/bench-server.ts';
import { Content } from './support/content.ts';
import { fill, verifySome } from './support/fill.ts';
import { atDepth, stopwatch } from './support/load.ts';
import { mib, progress, say, seconds, writeCsv } from './support/output.ts';
import { describeCauses, requestsBetween, total } from './support/requests.ts';

const BLOCK_BYTES = 65_536;
const DEPTH = 8;
const VERIFIED_BLOCKS = 1000;

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '16G' },
    overwrite: { type: 'string', default: '256M' },
    seed: { type: 'string', default: '1' },
    ...COMMON_OPTIONS,
  },
});

interface Step {
  readonly step: string;
  readonly ms: number;
  readonly requests: number;
  readonly bucketBytes: number;
  readonly causes: string;
}

const content = new Content(parseSize(values.bytes), BLOCK_BYTES, Number(values.seed));
const steps: Step[] = [];

async function timed(work: () => Promise<unknown>): Promise<number> {
  const taken = stopwatch();
  await work();
  return taken() * 1000;
}

async function step(
  bench: BenchServer,
  name: string,
  work: (admin: AdminClient) => Promise<unknown>,
): Promise<void> {
  const before = await bench.status();
  const admin = createAdminClient(join(bench.server.stateDir, 'admin.sock'));
  const ms = await timed(() => work(admin));
  const store = requestsBetween(before.store, (await bench.status()).store);
  steps.push({
    step: name,
    ms,
    requests: total(store),
    bucketBytes: bench.bucket.measure().bytes,
    // A comma would be a column of the CSV.
    causes: describeCauses(store).replaceAll(',', ';'),
  });
  progress(`instant: ${name}: ${ms.toFixed(0)} ms, ${describeCauses(store)}`);
}

/** Fills, and leaves the server with nothing to do. */
async function prepare(bench: BenchServer): Promise<void> {
  const client = await bench.connect('disk');
  const filling = stopwatch();
  await fill(client, content, content.blocks);
  client.close();
  await bench.server.command('flush');
  await bench.idle();
  progress(`instant: ${values.bytes} filled in ${seconds(filling())}`);
  await step(bench, 'status alone', async () => {});
  await step(bench, 'flush', (admin) => admin.flush());
}

async function overwrite(bench: BenchServer): Promise<void> {
  const client = await bench.connect('disk');
  let rest = Math.floor(parseSize(values.overwrite) / BLOCK_BYTES);
  await atDepth(DEPTH, () => {
    if (rest === 0) return undefined;
    rest -= 1;
    return content.write(client, content.pick());
  });
  await client.flush();
  client.close();
  await bench.idle();
}

async function verify(bench: BenchServer, what: string): Promise<void> {
  const client = await bench.connect('disk');
  await verifySome(client, content, content.blocks, VERIFIED_BLOCKS);
  client.close();
  say(`${what}: ${VERIFIED_BLOCKS} random blocks are as they were at the snapshot`);
}

async function run(bench: BenchServer): Promise<void> {
  await prepare(bench);
  try {
    await step(bench, 'snapshot create base', (admin) => admin.createSnapshot('base'));
    const recall = content.remember();
    await overwrite(bench);
    await step(bench, 'snapshot create second', (admin) => admin.createSnapshot('second'));
    await step(bench, 'branch create dev', (admin) => admin.createBranch('dev', 'base'));
    await step(bench, 'restore base', (admin) => admin.restore('base'));
    recall();
    await verify(bench, 'restored');
    await step(bench, 'snapshot delete second', (admin) => admin.deleteSnapshot('second'));
    await bench.server.stop();
    const readySeconds = await bench.restart(['--branch', 'dev']);
    say(`the branch is served ${seconds(readySeconds)} after its server was started`);
    await verify(bench, 'branch');
    await bench.server.stop();
    await bench.restart();
    await step(bench, 'branch delete dev', (admin) => admin.deleteBranch('dev'));
    await step(bench, 'snapshot delete base', (admin) => admin.deleteSnapshot('base'));
    await verify(bench, 'without the snapshot');
  } finally {
    report();
  }
  await writeCsv(values.csv, steps);
}

function report(): void {
  printTable(
    ['step', 'took', 'requests', 'bucket', 'by cause'],
    steps.map((one) => [
      one.step,
      `${one.ms.toFixed(0)} ms`,
      String(one.requests),
      mib(one.bucketBytes),
      one.causes,
    ]),
  );
}

await withBenchServer(
  {
    dir: values.dir,
    volumes: { disk: values.bytes },
    needsBytes: 2 * parseSize(values.bytes),
    flags: words(values.serve),
  },
  run,
);

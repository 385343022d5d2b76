// Snapshots, branches and restore of a large volume: how long each takes and how many requests to
// the store, which must not depend on the volume's size.
//
//   node bench/space/instant.ts [--bytes 16G] [--overwrite 256M] [--seed 1] [--dir DIR] [--csv
//   FILE]
//                               [--serve FLAGS]
//
// Each step is a command, as people type it. A command that does nothing is timed too: what is
// beyond it is the server's part. The report of what was asked makes requests of its own (it walks
// the volumes' maps): they are told under `status alone`.
//
//   fill ─ snapshot ─ overwrite some ─ branch from the snapshot ─ restore ─ read back ─ serve the
//   branch ─ read back ─ delete the snapshot

import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/size.ts';
import { median, printTable } from '../device.ts';
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
const IDLE_COMMANDS = 5;

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
  /** Without what a command costs that does nothing. */
  readonly beyondMs: number;
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

async function idleCommandMs(bench: BenchServer): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < IDLE_COMMANDS; i++) {
    times.push(await timed(() => bench.server.command('flush')));
  }
  return median(times);
}

async function command(bench: BenchServer, idleMs: number, ...args: string[]): Promise<void> {
  await step(bench, idleMs, args.join(' '), () => bench.server.command(...args));
}

async function step(
  bench: BenchServer,
  idleMs: number,
  name: string,
  work: () => Promise<unknown>,
): Promise<void> {
  const before = await bench.status();
  const ms = await timed(work);
  const store = requestsBetween(before.store, (await bench.status()).store);
  steps.push({
    step: name,
    ms,
    beyondMs: Math.max(0, ms - idleMs),
    requests: total(store),
    bucketBytes: bench.bucket.measure().bytes,
    // A comma would be a column of the CSV.
    causes: describeCauses(store).replaceAll(',', ';'),
  });
  progress(`instant: ${name}: ${ms.toFixed(0)} ms, ${describeCauses(store)}`);
}

/** Fills, and leaves the server with nothing to do. */
async function prepare(bench: BenchServer): Promise<number> {
  const client = await bench.connect('disk');
  const filling = stopwatch();
  await fill(client, content, content.blocks);
  client.close();
  await bench.server.command('flush');
  await bench.idle();
  progress(`instant: ${values.bytes} filled in ${seconds(filling())}`);
  const idleMs = await idleCommandMs(bench);
  await step(bench, 0, 'status alone', async () => {});
  await command(bench, 0, 'flush');
  return idleMs;
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
  const idleMs = await prepare(bench);
  try {
    await command(bench, idleMs, 'snapshot', 'create', 'base');
    const recall = content.remember();
    await overwrite(bench);
    await command(bench, idleMs, 'snapshot', 'create', 'second');
    await command(bench, idleMs, 'branch', 'create', 'dev', '--from', 'base');
    await command(bench, idleMs, 'restore', 'base');
    recall();
    await verify(bench, 'restored');
    await command(bench, idleMs, 'snapshot', 'delete', 'second');
    await bench.server.stop();
    const readySeconds = await bench.restart(['--branch', 'dev']);
    say(`the branch is served ${seconds(readySeconds)} after its server was started`);
    await verify(bench, 'branch');
    await bench.server.stop();
    await bench.restart();
    await command(bench, idleMs, 'branch', 'delete', 'dev');
    await command(bench, idleMs, 'snapshot', 'delete', 'base');
    await verify(bench, 'without the snapshot');
  } finally {
    report(idleMs);
  }
  await writeCsv(values.csv, steps);
}

function report(idleMs: number): void {
  printTable(
    ['step', 'took', 'beyond an idle command', 'requests', 'bucket', 'by cause'],
    steps.map((one) => [
      one.step,
      `${one.ms.toFixed(0)} ms`,
      `${one.beyondMs.toFixed(0)} ms`,
      String(one.requests),
      mib(one.bucketBytes),
      one.causes,
    ]),
  );
  say(`a command that does nothing: ${idleMs.toFixed(0)} ms`);
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

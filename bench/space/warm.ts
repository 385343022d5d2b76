// The disk cache over restarts: a working set that is larger than memory and fits the disk cache is
// written, then read as a whole, after a clean restart, after `kill -9`, and after each once more.
//
//   node bench/space/warm.ts [--bytes 4G] [--cache-disk 8G] [--cache-memory 128M] [--random]
//                            [--seed 1] [--dir DIR] [--csv FILE] [--serve FLAGS]
//
// `--cache-disk 0` leaves the flag out: what it is like without.

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
import { fill, verifyAll, verifySome } from './support/fill.ts';
import { stopwatch } from './support/load.ts';
import { mib, progress, rate, seconds, writeCsv } from './support/output.ts';
import { describeCauses, requestsBetween } from './support/requests.ts';

const BLOCK_BYTES = 16_384;

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '4G' },
    'cache-disk': { type: 'string', default: '8G' },
    'cache-memory': { type: 'string', default: '128M' },
    /** Single blocks in random order, instead of all in order. */
    random: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    ...COMMON_OPTIONS,
  },
});

interface Pass {
  readonly pass: string;
  readonly readySeconds: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly gets: number;
  readonly bytesDown: number;
  readonly residentBytes: number;
  readonly causes: string;
}

const content = new Content(parseSize(values.bytes), BLOCK_BYTES, Number(values.seed));
const passes: Pass[] = [];

async function readAll(bench: BenchServer, name: string, readySeconds: number): Promise<void> {
  const client = await bench.connect('disk');
  const before = await bench.status();
  const taken = stopwatch();
  if (values.random) await verifySome(client, content, content.blocks, content.blocks);
  else await verifyAll(client, content, content.blocks);
  const took = taken();
  const store = requestsBetween(before.store, (await bench.status()).store);
  client.close();
  passes.push({
    pass: name,
    readySeconds,
    seconds: took,
    bytes: content.blocks * BLOCK_BYTES,
    gets: store.get,
    bytesDown: store.bytesDown,
    residentBytes: bench.memory().residentBytes,
    causes: describeCauses(store).replaceAll(',', ';'),
  });
  progress(`warm: ${name}: ${seconds(took)}, ${store.get} GETs`);
}

async function run(bench: BenchServer): Promise<void> {
  const client = await bench.connect('disk');
  const filling = stopwatch();
  await fill(client, content, content.blocks);
  client.close();
  progress(`warm: ${values.bytes} written in ${seconds(filling())}`);
  try {
    await readAll(bench, 'after writing', 0);
    await bench.server.stop();
    await readAll(bench, 'after a clean restart', await bench.restart());
    await readAll(bench, 'once more', 0);
    await bench.server.kill9();
    await readAll(bench, 'after kill -9', await bench.restart());
    await readAll(bench, 'and once more', 0);
  } finally {
    report();
  }
  await writeCsv(values.csv, passes);
}

function report(): void {
  printTable(
    ['read', 'ready', 'took', 'rate', 'GETs', 'down', 'RSS', 'by cause'],
    passes.map((one) => [
      one.pass,
      one.readySeconds === 0 ? '' : seconds(one.readySeconds),
      seconds(one.seconds),
      rate(one.bytes, one.seconds),
      String(one.gets),
      mib(one.bytesDown),
      mib(one.residentBytes),
      one.causes,
    ]),
  );
}

const disk = values['cache-disk'];
await withBenchServer(
  {
    dir: values.dir,
    volumes: { disk: values.bytes },
    needsBytes: 2 * parseSize(values.bytes),
    flags: [
      '--cache-memory',
      values['cache-memory'],
      ...(disk === '0' ? [] : ['--cache-disk', disk]),
      ...words(values.serve),
    ],
  },
  run,
);

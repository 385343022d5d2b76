// A volume that is filled, then discarded as a whole: what the bucket holds before, after the trim,
// and after each `varve gc`.
//
//   node bench/space/trim.ts [--bytes 4G] [--seed 1] [--dir DIR] [--csv FILE] [--serve FLAGS]

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
import { fill, verifySome } from './support/fill.ts';
import { stopwatch } from './support/load.ts';
import { formatSize, mib, progress, say, seconds, writeCsv } from './support/output.ts';

/** Of one trim: what the kernel's NBD sends for a whole device comes in such parts. */
const TRIM_BYTES = 1024 ** 3;
const VERIFIED_BLOCKS = 500;

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '4G' },
    seed: { type: 'string', default: '1' },
    ...COMMON_OPTIONS,
  },
});

interface Stage {
  readonly stage: string;
  readonly seconds: number;
  readonly bucketBytes: number;
  readonly objects: number;
  readonly logBytes: number;
  readonly dataBytes: number;
  readonly tableBytes: number;
}

async function run(bench: BenchServer): Promise<void> {
  const sizeBytes = parseSize(values.bytes);
  const content = new Content(sizeBytes, 65_536, Number(values.seed));
  const client = await bench.connect('disk');
  const stages: Stage[] = [];
  const stage = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    const taken = stopwatch();
    await work();
    const took = taken();
    const { bytes, objects, byFolder } = bench.bucket.measure();
    const of = (folder: string): number => byFolder.get(folder)?.bytes ?? 0;
    stages.push({
      stage: name,
      seconds: took,
      bucketBytes: bytes,
      objects,
      logBytes: of('log'),
      dataBytes: of('data'),
      tableBytes: of('tables'),
    });
    progress(`trim: ${name}: ${mib(bytes)} after ${seconds(took)}`);
  };
  try {
    await stage('filled', () => fill(client, content, content.blocks));
    await stage('trimmed', async () => {
      for (let at = 0; at < sizeBytes; at += TRIM_BYTES) {
        await client.trim(at, Math.min(TRIM_BYTES, sizeBytes - at));
      }
      await client.flush();
    });
    content.forget();
    await verifySome(client, content, content.blocks, VERIFIED_BLOCKS);
    for (const name of ['gc', 'gc again']) await stage(name, () => bench.server.command('gc'));
  } finally {
    client.close();
    report(stages);
  }
  await writeCsv(values.csv, stages);
}

function report(stages: readonly Stage[]): void {
  printTable(
    ['after', 'took', 'bucket', 'objects', 'log', 'data', 'tables'],
    stages.map((one) => [
      one.stage,
      seconds(one.seconds),
      mib(one.bucketBytes),
      String(one.objects),
      mib(one.logBytes),
      mib(one.dataBytes),
      mib(one.tableBytes),
    ]),
  );
  const [full, last] = [stages[0], stages.at(-1)];
  if (full === undefined || last === undefined) return;
  const left = ((100 * last.bucketBytes) / full.bucketBytes).toFixed(2);
  say(`left in the bucket: ${formatSize(last.bucketBytes)}, ${left} % of what filled it`);
}

await withBenchServer(
  {
    dir: values.dir,
    volumes: { disk: values.bytes },
    needsBytes: parseSize(values.bytes),
    flags: words(values.serve),
  },
  run,
);

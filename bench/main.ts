// npm run bench -- [device] [--store URL] [--rounds N] [--seconds N] [--write SIZE]
//
// Benchmarks of the whole server. Those of single parts lie beside them as *.bench.ts and are run
// on their own: node src/codec/codec.bench.ts.

import { parseArgs } from 'node:util';
import { parseSize } from '../src/cli/size.ts';
import { benchDevice } from './device.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    write: { type: 'string', default: '0' },
  },
  allowPositionals: true,
});

await benchDevice({
  ...(values.store === undefined ? {} : { store: values.store }),
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  writeBytes: values.write === '0' ? 0 : parseSize(values.write),
});

// `npm run demo:postgres-zfs [-- --scale N --seconds N --clients N …]`
//
// README.md says what it shows.

import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { runDemo } from '../support/demo.ts';
import { DEFAULTS, runExample, type ExampleOptions } from './example.ts';
import { formatReads, formatRecovery, formatSpace, formatTps, formatTraffic } from './report.ts';

function readOptions(args: readonly string[]): ExampleOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      store: { type: 'string' },
      's3-endpoint': { type: 'string' },
      tier: { type: 'string', default: DEFAULTS.tier },
      scale: { type: 'string', default: String(DEFAULTS.scale) },
      seconds: { type: 'string', default: String(DEFAULTS.seconds) },
      clients: { type: 'string', default: String(DEFAULTS.clients) },
      recordsize: { type: 'string', default: DEFAULTS.recordsize },
      logbias: { type: 'string', default: DEFAULTS.logbias },
      'arc-mib': { type: 'string', default: String(DEFAULTS.arcMiB) },
    },
  });
  const count = (name: 'scale' | 'seconds' | 'clients' | 'arc-mib'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  function choice<T extends string>(name: 'tier' | 'logbias', of: readonly T[]): T {
    const found = of.find((one) => one === values[name]);
    if (found === undefined) throw new Error(`--${name} must be ${of.join(' or ')}`);
    return found;
  }
  return {
    ...DEFAULTS,
    store: values.store,
    endpoint: values['s3-endpoint'],
    tier: choice('tier', ['store', 'journal']),
    scale: count('scale'),
    seconds: count('seconds'),
    clients: count('clients'),
    recordsize: values.recordsize,
    logbias: choice('logbias', ['latency', 'throughput']),
    arcMiB: count('arc-mib'),
  };
}

process.exitCode = await runDemo(async (signal) => {
  const { runs, recovery, space } = await runExample(readOptions(process.argv.slice(2)), signal);
  const parts = [formatTps(runs), formatReads(runs), formatTraffic(runs)];
  process.stdout.write(`\n${parts.join('\n')}\n`);
  process.stdout.write(`${formatSpace(space)}\n${formatRecovery(recovery)}`);
}, EXAMPLE_PACKAGES);

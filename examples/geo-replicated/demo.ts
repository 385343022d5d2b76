// `npm run demo:geo-replicated [-- --tier store|journal --scale N --seconds N --clients N]`
//
// Two databases at two sites, one of which is lost as a whole: run.ts says what is done.

import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { formatTable } from '../../src/cli/text-table.ts';
import { runDemo } from '../support/demo.ts';
import { run, type RunOptions, type RunResult } from './run.ts';
import type { Tier } from './site.ts';

const HEADER = ['STEP', 'SECONDS', 'COMMITS', 'PER SECOND', 'LONGEST WAIT', 'RECONNECTIONS'];

function readOptions(args: readonly string[], signal: AbortSignal): RunOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      tier: { type: 'string', default: 'journal' },
      scale: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '15' },
      clients: { type: 'string', default: '8' },
    },
  });
  const count = (name: 'scale' | 'seconds' | 'clients'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  return {
    tier: readTier(values.tier),
    scale: count('scale'),
    seconds: count('seconds'),
    clients: count('clients'),
    volumeSize: '4G',
    signal,
  };
}

function readTier(value: string): Tier {
  if (value === 'store' || value === 'journal') return value;
  throw new Error('--tier must be store or journal');
}

function formatResult(result: RunResult): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
  const rows = result.steps.map((step) => [
    step.name,
    step.seconds.toFixed(1),
    String(step.commits),
    (step.commits / step.seconds).toFixed(0),
    seconds(step.slowestMs),
    String(step.reconnections),
  ]);
  const right = HEADER.map((_, column) => column).slice(1);
  const table = formatTable([HEADER, ...rows], right);
  const { promotedCheck, primaryCheck, standbyCheck, fenced } = result;
  return (
    `\n${table}\n` +
    `the loss was noticed after ${seconds(result.noticedMs)}; to fence and promote took ` +
    `${seconds(result.promotedMs)}; after ${seconds(result.ledMs)} HAProxy led to west, after ` +
    `${seconds(result.answeredMs)} every client had an answer\n` +
    `on west then: all ${promotedCheck.acknowledged} acknowledged transactions, of ` +
    `${promotedCheck.found}: none lost\n` +
    `east, back as it was: ${fenced.state} for HAProxy; a commit there waited for ` +
    `${fenced.waitedFor} and was not acknowledged; pg_rewind took it back\n` +
    `in the end: all ${primaryCheck.acknowledged} acknowledged transactions on west and on east, ` +
    `of ${primaryCheck.found} and ${standbyCheck.found}; replication: ${result.syncState}\n` +
    'the same rows in all tables; pg_amcheck, both scrubs, varve fsck of six stores: clean\n'
  );
}

process.exitCode = await runDemo(async (signal) => {
  const result = await run(readOptions(process.argv.slice(2), signal));
  process.stdout.write(formatResult(result));
}, EXAMPLE_PACKAGES);

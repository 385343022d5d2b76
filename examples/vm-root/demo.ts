// `npm run demo:vm-root [-- --lines N]`: a virtual machine boots from a volume, and its server is
// stopped and started again, upgraded and killed under it.

import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { runDemo, say } from '../support/demo.ts';
import { runVmRoot } from './run.ts';

const { values } = parseArgs({ options: { lines: { type: 'string', default: '50' } } });
const linesEach = Number(values.lines);
if (!Number.isInteger(linesEach) || linesEach < 1) {
  throw new Error(`--lines: "${values.lines}" is no whole number above 0`);
}

process.exitCode = await runDemo(async (signal) => {
  const facts = await runVmRoot({ linesEach, say, signal });
  const rows: readonly (readonly [string, string])[] = [
    ['boot to the first durable line', `${facts.bootSeconds.toFixed(1)} s`],
    ['stall at a clean restart', `${facts.restartStallSeconds.toFixed(2)} s`],
    ['stall at varve upgrade', `${facts.upgradeStallSeconds.toFixed(2)} s`],
    ['durable lines, none lost', String(facts.lines)],
    ['answered before the crash', String(facts.answeredBeforeCrash)],
    ['there behind the crash', String(facts.linesBehindCrash)],
    ['bytes in the store', `${facts.storedMiB.toFixed(0)} MiB`],
  ];
  for (const [what, value] of rows) process.stdout.write(`${what.padEnd(34)}${value}\n`);
}, EXAMPLE_PACKAGES);

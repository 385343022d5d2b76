// `npm run demo:branch-a-database [-- --size SIZE --store URL --scale N --seconds N --clients N]`
//
// A branch of a running database, made in a moment, whatever its size: run.ts says what is done.

import { parseArgs } from 'node:util';
import { formatSize, parseSize } from '../../src/cli/size.ts';
import { runDemo } from '../support/demo.ts';
import { formatPhases } from './phases.ts';
import { type BranchDemoOptions, type BranchDemoResult, runBranchDemo } from './run.ts';

/** A gateway of our own keeps its objects in memory, and not so many. */
const GATEWAY = 'gateway';

function readOptions(args: readonly string[], signal: AbortSignal): BranchDemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '8G' },
      store: { type: 'string', default: 'file:' },
      's3-endpoint': { type: 'string' },
      scale: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '10' },
      clients: { type: 'string', default: '4' },
      deep: { type: 'boolean', default: false },
    },
  });
  const count = (name: 'scale' | 'seconds' | 'clients'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  return {
    store: values.store === GATEWAY ? undefined : values.store,
    endpoint: values['s3-endpoint'],
    databaseBytes: parseSize(values.size),
    scale: count('scale'),
    seconds: count('seconds'),
    clients: count('clients'),
    fsckFlags: values.deep ? ['--deep'] : [],
    signal,
  };
}

function formatResult(result: BranchDemoResult): string {
  const { parentCheck, branchCheck, parentLook, branchLook, branchUsed, branchLeft } = result;
  const slowestMs = Math.max(...result.phases.map((phase) => phase.slowestMs));
  const state = (has: boolean): string => (has ? 'documents.state' : 'no documents.state');
  const looks = Object.entries({ main: parentLook, migration: branchLook }).map(
    ([name, look]) =>
      `${name}: ${look.documents} documents, ${state(look.hasState)}, balances are ` +
      `${look.balanceType}, ${formatSize(look.databaseBytes)}\n`,
  );
  return (
    `\n${formatPhases(result.phases)}\n${looks.join('')}\n` +
    `on the branch: all ${branchCheck.acknowledged} transactions acknowledged before it, ` +
    `of ${branchCheck.found}\n` +
    `on main: all ${parentCheck.acknowledged} acknowledged transactions, ` +
    `of ${parentCheck.found}; the slowest took ${(slowestMs / 1000).toFixed(2)} s\n` +
    'pg_amcheck and varve fsck find nothing\n' +
    `the branch's own objects: ${formatSize(branchUsed.bytes)} in ${branchUsed.objects}; ` +
    `when it was deleted: ${formatSize(branchLeft.bytes)} in ${branchLeft.objects}\n`
  );
}

process.exitCode = await runDemo(async (signal) => {
  const result = await runBranchDemo(readOptions(process.argv.slice(2), signal));
  process.stdout.write(formatResult(result));
});

// `npm test [-- PATTERN…]`: the packages that the tests need, the checks, then every test.
// `npm run test:examples`: the examples' own tests and those in a guest (test/vm), which take
// minutes.
//
// With patterns only those tests run, and the checks are left out: it is meant for work on one
// folder.

import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { runChecks } from './check.ts';
import { DEBIAN_PACKAGES, EXAMPLE_PACKAGES, ensureDebianPackages } from './debian-packages.ts';

const ROOT = join(import.meta.dirname, '..');
const ALL = [
  ...['src', 'scripts', 'sim', 'fuzz', 'test'].map((folder) => `${folder}/**/*.test.ts`),
  // Of the examples those that are short, and need no packages of their own.
  ...['support', 'branch-a-database'].map((folder) => `examples/${folder}/*.test.ts`),
];

/** Each brings up servers, gateways and databases: one at a time is all that a machine takes. */
const EXAMPLES = ['examples/**/*.test.ts', 'test/vm/*.vmtest.ts'];

/** Test files at one time: several start servers and databases of their own. */
const CONCURRENCY_MAX = 4;

function main(given: readonly string[]): number {
  const examples = given[0] === '--examples';
  const patterns = examples ? [...given.slice(1), ...(given.length > 1 ? [] : EXAMPLES)] : given;
  const packages = examples ? EXAMPLE_PACKAGES : DEBIAN_PACKAGES;
  try {
    ensureDebianPackages((line) => process.stderr.write(`test: ${line}\n`), packages);
  } catch (error) {
    process.stderr.write(`test: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  const checked = patterns.length > 0 || runChecks();
  const concurrency = examples ? 1 : Math.min(CONCURRENCY_MAX, availableParallelism());
  const args = [
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${concurrency}`,
    ...(patterns.length > 0 ? patterns : ALL),
  ];
  const { status, error } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: 'inherit',
    // What the launcher sets for the server: the tests run components of it in their own process.
    env: { UV_THREADPOOL_SIZE: '16', ...process.env },
  });
  if (error !== undefined) process.stderr.write(`test: ${error.message}\n`);
  // The counts of node:test stay the last lines: a failed check was said above and shows in the
  // exit code.
  return checked && status === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));

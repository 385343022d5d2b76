// `npm run check`: types, lint, format, house rules. Runs them all, and fails when any of them
// does.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

function tool(name: string): string {
  return join(ROOT, 'node_modules/.bin', name);
}

const CHECKS: readonly Check[] = [
  { name: 'types', command: tool('tsc'), args: ['-p', '.'] },
  { name: 'lint', command: tool('oxlint'), args: ['--type-aware', '--deny-warnings'] },
  { name: 'format', command: tool('oxfmt'), args: ['--check'] },
  { name: 'tidy', command: process.execPath, args: [join(ROOT, 'scripts/tidy.ts')] },
];

/** True when every check passed. */
export function runChecks(): boolean {
  let passed = true;
  for (const { name, command, args } of CHECKS) {
    const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
    const good = status === 0 && error === undefined;
    process.stderr.write(`check ${name}: ${good ? 'ok' : 'FAILED'}\n`);
    if (error !== undefined) process.stderr.write(`check ${name}: ${error.message}\n`);
    passed &&= good;
  }
  return passed;
}

if (import.meta.main) process.exitCode = runChecks() ? 0 : 1;

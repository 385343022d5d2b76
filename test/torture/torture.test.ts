// Two rounds, short enough for every run of the tests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../support/command.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

test('PostgreSQL survives two rounds of torture on a directory store', async () => {
  const args = ['--rounds', '2', '--store', 'file', '--scale', '1', '--seed', '3'];
  const said = await runCommand(process.execPath, [MAIN, ...args]);
  assert.match(said, /^2 rounds, \d{2,} acknowledged transactions, none missing$/m);
});

test('what makes no sense is refused before anything is started', async () => {
  for (const args of [['--rounds', '0'], ['--tier', 'peer'], ['--kinds', 'flood'], ['--fast']]) {
    await assert.rejects(runCommand(process.execPath, [MAIN, ...args]), /failed \(2\)/);
  }
});

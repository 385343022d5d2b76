// The example at small size: what it claims, not how fast it is.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runVmRoot } from './run.ts';

test('a machine boots from a volume, outlives a restart and an upgrade, and a crash', async () => {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const facts = await runVmRoot({ linesEach: 5, say });
  assert.ok(facts.lines >= 15);
  assert.ok(facts.linesBehindCrash >= facts.answeredBeforeCrash);
});

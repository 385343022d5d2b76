// The demo at a small size: what it promises is so, and neither its end nor Ctrl-C leaves anything.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNothingLeft } from '../support/nothing-left.ts';
import { documentsLeft } from './documents.ts';
import { type BranchDemoOptions, runBranchDemo } from './run.ts';

const MIB = 1024 * 1024;
/** Claims, fences and the last manifest of a deleted branch: docs/formats/store.md. */
const TOMBSTONE_BYTES_MAX = 64 * 1024;

const SMALL: Omit<BranchDemoOptions, 'signal'> = {
  store: 'file:',
  endpoint: undefined,
  databaseBytes: 48 * MIB,
  scale: 1,
  seconds: 1,
  clients: 3,
  fsckFlags: ['--deep'],
};

test('a running database works on beside a branch that is migrated and thrown away', async () => {
  const folders = new Set<string>();
  const result = await runBranchDemo({
    ...SMALL,
    signal: new AbortController().signal,
    onPhase: (_, now) => now.forEach((folder) => folders.add(folder)),
  });
  // The run itself has compared both ledgers: what was acknowledged is there, nothing else is.
  const { parentCheck, branchCheck, parentLook, branchLook, rows } = result;
  assert.ok(branchCheck.acknowledged > 0, 'the branch was made of a database at work');
  assert.ok(parentCheck.acknowledged > branchCheck.found, 'which went on');
  assert.equal(parentCheck.found, parentCheck.acknowledged);
  const commits = result.phases.reduce((sum, phase) => sum + phase.commits, 0);
  assert.ok(commits > 0, 'beside the branch, too');

  assert.deepEqual(
    { ...branchLook, databaseBytes: 0 },
    {
      documents: documentsLeft(rows),
      hasState: false,
      balanceType: 'bigint',
      databaseBytes: 0,
    },
  );
  assert.deepEqual(
    { ...parentLook, databaseBytes: 0 },
    {
      documents: rows,
      hasState: true,
      balanceType: 'integer',
      databaseBytes: 0,
    },
  );

  assert.ok(result.branchUsed.bytes > MIB, 'the migration has written to the branch');
  assert.ok(result.branchLeft.bytes < TOMBSTONE_BYTES_MAX, 'which gives its space back');
  assert.equal(result.collected.pinnedBytes, 0, 'nothing of main is kept for it');
  assert.equal(folders.size, 3);
  assertNothingLeft([...folders]);
});

test('Ctrl-C in the middle leaves nothing behind', async () => {
  const interrupt = new AbortController();
  let folders: readonly string[] = [];
  const running = runBranchDemo({
    ...SMALL,
    signal: interrupt.signal,
    onPhase(name, now) {
      folders = now;
      if (name === 'migration on the branch') interrupt.abort(new Error('interrupted'));
    },
  });
  await assert.rejects(running, /interrupted|aborted/);
  assert.equal(folders.length, 3);
  assertNothingLeft(folders);
});

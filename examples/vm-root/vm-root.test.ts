// The demo at a small size: its run asserts that every file that a guest called durable is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNothingLeft } from '../support/nothing-left.ts';
import { runVmRoot } from './run.ts';

const SMALL = { store: 'file:', endpoint: undefined, files: 5, reconnectSeconds: 15 };

test('a guest on a volume outlives restart and upgrade, and learns of a crash', async () => {
  let folders: readonly string[] = [];
  const { ordered, crashed, behindCrash, phases } = await runVmRoot({
    ...SMALL,
    signal: new AbortController().signal,
    onPhase: (_, now) => (folders = now),
  });
  // Before, behind the restart, behind the upgrade.
  assert.ok(ordered >= 3 * SMALL.files);
  assert.ok(crashed >= SMALL.files);
  // The guest syncs one file at a time, so that only one line can have been under way.
  assert.ok(behindCrash <= 1, 'nothing is synced to a disk that has lost writes');
  assert.ok(phases.some(({ puts }) => puts > 0));
  assertNothingLeft(folders);
});

test('Ctrl-C while the guest runs leaves nothing behind', async () => {
  const interrupt = new AbortController();
  let folders: readonly string[] = [];
  const running = runVmRoot({
    ...SMALL,
    signal: interrupt.signal,
    onPhase(name, now) {
      folders = now;
      if (name === 'writing') interrupt.abort(new Error('interrupted'));
    },
  });
  await assert.rejects(running, /interrupted|aborted/);
  assertNothingLeft(folders);
});

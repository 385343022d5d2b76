// Read-only servers beside the one that writes the branch: of a snapshot, and what they refuse.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { nbdsh } from '../support/command.ts';
import { type CommandBox, createCommandBox, STORE } from './command-box.ts';

let at: CommandBox;
beforeEach(async () => {
  at = await createCommandBox();
});
afterEach(() => at.box.remove());

test('a snapshot is served as it was, read-only, while its branch is written', async () => {
  await at.write('old');
  await at.must('snapshot', 'create', 'base');
  await at.write('new');
  await at.must('volume', 'create', 'later', '1M');

  const reader = await at.serveBeside('look', '--read-only', '--snapshot', 'base');
  await at.expect('old', 'disk', 'look.sock');
  await nbdsh(at.uri('disk', 'look.sock'), ['assert h.is_read_only()']);
  const volumes = await at.must('volume', 'list', '--json', '--state', 'look');
  assert.equal(
    (JSON.parse(volumes) as object[]).length,
    1,
    'the volumes are those of the snapshot',
  );
  const status = await at.must('status', '--state', 'look');
  assert.match(status, /\nbranch +main, snapshot base\n/);
  await at.write('newer');
  await at.expect('newer');
  await at.expect('old', 'disk', 'look.sock');
  assert.equal((await reader.stop()).code, 0);
});

test('what a read-only server cannot do is refused', async () => {
  const reader = await at.serveBeside('look', '--read-only');
  for (const words of [
    ['snapshot', 'create', 'x'],
    ['branch', 'create', 'x'],
    ['branch', 'delete', 'x'],
    ['restore', 'x'],
    ['gc'],
  ]) {
    await at.refused(1, /read-only/, ...words, '--state', 'look');
  }
  assert.equal((await reader.stop()).code, 0);
});

test('a snapshot that is not there, or is to be written, is not served', async () => {
  const serve = ['serve', ...STORE, '--state', 'look', '--nbd', 'unix:look.sock'];
  const missing = await at.box.run([...serve, '--read-only', '--snapshot', 'none']);
  assert.equal(missing.code, 1, missing.stderr);
  assert.match(missing.stderr, /varve: there is no snapshot "none"/);
  const written = await at.box.run([...serve, '--snapshot', 'none']);
  assert.equal(written.code, 2, written.stderr);
  assert.match(written.stderr, /^varve: a snapshot cannot be written: say --read-only/);
});

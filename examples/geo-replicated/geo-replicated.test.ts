// The demo at a small size: what it promises is so, and neither its end nor Ctrl-C leaves anything.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNothingLeft } from '../support/nothing-left.ts';
import { run, type RunOptions } from './run.ts';

const SMALL: Omit<RunOptions, 'signal'> = {
  tier: 'journal',
  scale: 1,
  clients: 4,
  seconds: 5,
  volumeSize: '2G',
};

test('a site is lost and no acknowledged transaction, and it comes back as standby', async () => {
  const folders = new Set<string>();
  const result = await run({
    ...SMALL,
    signal: new AbortController().signal,
    onStep: (_, folder) => folders.add(folder),
  });
  // The run itself has compared the ledgers with the tables: what was acknowledged is there.
  const { promotedCheck, primaryCheck, standbyCheck } = result;
  assert.ok(result.steps[0]!.commits > 0, 'the site was lost under load');
  assert.ok(promotedCheck.acknowledged > result.steps[0]!.commits, 'clients went on at the other');
  assert.ok(primaryCheck.acknowledged > promotedCheck.acknowledged, 'and beside the return');
  assert.equal(standbyCheck.acknowledged, primaryCheck.acknowledged);
  assert.equal(standbyCheck.found, primaryCheck.found);
  assert.equal(result.fingerprints[0], result.fingerprints[1]);

  assert.deepEqual(
    result.fenced,
    { state: 'MAINT', waitedFor: 'SyncRep', answer: '' },
    'nobody is led to the old primary, and it acknowledges nothing',
  );
  assert.deepEqual(result.ledTo, ['west', 'west']);
  assert.equal(result.syncState, 'sync');
  assert.deepEqual(result.timelines, ['2', '2']);
  assert.ok(
    result.steps.slice(1).every(({ commits }) => commits > 0),
    'every step was under load',
  );
  assert.equal(folders.size, 1);
  assertNothingLeft([...folders]);
});

test('Ctrl-C while a site is lost leaves nothing behind', async () => {
  const interrupt = new AbortController();
  const folders = new Set<string>();
  const running = run({
    ...SMALL,
    signal: interrupt.signal,
    onStep(name, folder) {
      folders.add(folder);
      if (name.startsWith('kill -9')) interrupt.abort(new Error('interrupted'));
    },
  });
  await assert.rejects(running, /interrupted|aborted/);
  assert.equal(folders.size, 1);
  assertNothingLeft([...folders]);
});

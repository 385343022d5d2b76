// The example at a small size: who takes the pool over has all that was acknowledged, and who had
// it acknowledges nothing any more.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openGateway } from '../../test/support/gateway.ts';
import { assertNothingLeft } from '../support/nothing-left.ts';
import { runGlobalPool } from './run.ts';

test('a pool over six regions changes hands under load', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'varve-global-'));
  const gateway = await openGateway();
  try {
    const { signal } = new AbortController();
    const load = { scale: 1, clients: 4, seconds: 4 };
    const result = await runGlobalPool({ gateway, dir, volumeSize: '2G', signal, ...load });
    assert.equal(result.late, 0, 'a primary that was fenced acknowledges nothing');
    assert.deepEqual(result.exitCodes, [3, 3, 3, 3, 3, 3]);
    // The run itself has compared the ledger with the table: what was acknowledged is there.
    assert.ok(result.taken.acknowledged > 0);
    assert.ok(result.end.acknowledged > result.taken.acknowledged, 'clients went on');
    assert.match(result.scrub, /with 0 errors/);
  } finally {
    await gateway.stop();
    await rm(dir, { recursive: true, force: true });
  }
  assertNothingLeft([dir]);
});

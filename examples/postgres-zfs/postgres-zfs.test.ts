// The demo at small size: what must hold, whatever the machine's speed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { runCommand, until } from '../../test/support/command.ts';
import { DEFAULTS, type ExampleOptions, runExample } from './example.ts';

const SMALL: ExampleOptions = {
  ...DEFAULTS,
  // More than ARC's least, so that L2ARC is asked.
  scale: 4,
  seconds: 2,
  clients: 10,
  commits: 300,
  volumeMiB: 1024,
  arcMiB: 16,
  l2arcMiB: 128,
  memoryMiB: 16,
  diskMiB: 256,
};
const TEST_TIMEOUT_MS = 290_000;

test(
  'each layer answers its part, and a crash loses nothing',
  {
    timeout: TEST_TIMEOUT_MS,
  },
  async () => {
    const { runs, recovery, space } = await runExample(SMALL, new AbortController().signal);
    const layersOf = (name: string) => {
      const run = runs.find((one) => one.name === name);
      assert.ok(run !== undefined, `there is no run ${name}`);
      assert.ok(run.onVarve.tps > 0);
      const { varve, ...zfs } = run.onVarve.layers;
      assert.ok(varve !== undefined);
      return { ...zfs, varve };
    };

    assert.ok(recovery.acknowledged >= SMALL.commits);
    assert.match(recovery.scrub, /with 0 errors/);

    const written = layersOf('read-write, warm');
    assert.ok(written.varve.barriers > 0, 'commits wait for barriers of the volume');
    assert.ok(written.varve.putsOfLog > 0 && written.deviceWrittenBytes > 0);
    const cold = layersOf('read-only, cold');
    assert.ok(cold.varve.getsOfData > 0, 'the object store answers when all caches are empty');
    assert.ok(cold.deviceReads > 0 && cold.arc.misses > 0);
    const restarted = layersOf('read-only, varve disk cache');
    assert.ok(restarted.varve.disk.hits > 0, 'the disk cache is warm over a restart');
    const warm = layersOf('read-only, warm');
    assert.ok(warm.arc.hits > 0 && warm.l2arc.hits > 0, 'both of ZFS answer once they are filled');
    assert.ok(warm.varve.getsOfData < cold.varve.getsOfData);

    // zfs-fuse discards nothing; zeroes are holes.
    const { before, dropped, filled } = space;
    assert.ok(dropped.volume > before.volume / 2, 'a dropped table stays stored');
    assert.ok(filled.volume < before.volume / 2, 'zeroes give its space back');
    // By less: pgbench's rows compress well, and what else there is does not.
    assert.ok(filled.bucket < dropped.bucket, 'and the bucket shrinks');
    await assertNothingLeft();
  },
);

test('interrupted, it leaves nothing behind', { timeout: TEST_TIMEOUT_MS }, async () => {
  const interrupt = new AbortController();
  const ended = assert.rejects(runExample({ ...SMALL, store: 'file:' }, interrupt.signal));
  await until('a pool is in use', async () => (await ours()).length > 0);
  interrupt.abort(new Error('interrupted'));
  await ended;
  await assertNothingLeft();
});

/** Loop devices on the example's files, of which every mount, pool and namespace keeps one. */
async function ours(): Promise<readonly string[]> {
  const all = await runCommand('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']);
  return all.split('\n').filter((line) => line.includes('/varve-zfs-'));
}

async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(await ours(), []);
  assert.doesNotMatch(readFileSync('/proc/self/mounts', 'utf8'), /varve-zfs-|zfs-kstat/);
}

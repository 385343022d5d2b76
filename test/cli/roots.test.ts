// Snapshots, branches and restoring through the command line, on a store in a directory.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { branchReport, snapshotUsageReport } from '../../src/server/http/report.ts';
import { nbdsh } from '../support/command.ts';
import { type CommandBox, createCommandBox } from './command-box.ts';

const MIB = 1024 * 1024;

let at: CommandBox;
beforeEach(async () => {
  at = await createCommandBox();
});
afterEach(() => at.box.remove());

test('snapshots are made, listed and deleted', async () => {
  assert.match(await at.must('snapshot', 'list'), /^no snapshots: .*varve snapshot create NAME/);
  await at.write('one');
  const made = await at.must('snapshot', 'create', 'one');
  assert.match(made, /^created snapshot one, \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\n$/);
  await at.client.createSnapshot('2026-01-01_00:00+02:00@x.y');
  const json = await at.must('snapshot', 'list', '--json');
  const [first, second] = snapshotUsageReport.array().parse(JSON.parse(json));
  assert.equal(first?.name, 'one');
  assert.ok(first.createdUnixMs <= second!.createdUnixMs);
  assert.ok(first.reachedBytes > 0);
  assert.deepEqual(first.branches, []);
  const table = await at.must('snapshot', 'list');
  assert.match(table, /^NAME +CREATED +REACHES +FREES +BRANCHES\none +\d{4}-.*Z .*B +-\n2026/);

  await at.refused(1, /snapshot "one" exists/, 'snapshot', 'create', 'one');
  await at.refused(1, /no snapshot "none"/, 'snapshot', 'delete', 'none');
  await at.must('snapshot', 'delete', 'one');
  assert.deepEqual(
    (await at.client.listSnapshots()).map((one) => one.name),
    [second!.name],
  );
});

test('bad names are refused with what a name may be', async () => {
  await at.refused(2, /"a b" is no snapshot name: 1 to 128/, 'snapshot', 'create', 'a b');
  await at.refused(2, /"..\/up" is no branch name: 1 to 128/, 'branch', 'create', '../up');
  for (const bad of ['', 'a/b', '.hidden', 'ü', 'x\n', 'x'.repeat(129)]) {
    await assert.rejects(at.client.createSnapshot(bad), /no snapshot name/);
    await assert.rejects(at.client.createBranch(bad, undefined), /no branch name/);
    await assert.rejects(at.client.deleteSnapshot(bad), /no snapshot/);
  }
  assert.deepEqual(await at.client.listSnapshots(), []);
  assert.equal((await at.client.listBranches()).length, 1);
});

test('branches stand on snapshots, and what stands below is not deleted', async () => {
  await at.must('snapshot', 'create', 'base');
  const made = await at.must('branch', 'create', 'child', '--from', 'base');
  assert.match(made, /^created branch child: serve it with "varve serve --branch child"/);
  await at.must('branch', 'create', 'now');
  await at.refused(1, /branch "child" exists/, 'branch', 'create', 'child');
  await assert.rejects(at.client.createBranch('main', 'base'), /branch "main" exists/);
  await at.refused(1, /no snapshot "none"/, 'branch', 'create', 'x', '--from', 'none');

  const json = await at.must('branch', 'list', '--json');
  const all = branchReport.array().parse(JSON.parse(json));
  const branches = new Map(all.map((one) => [one.name, one]));
  assert.deepEqual([...branches.keys()].toSorted(), ['child', 'main', 'now']);
  assert.equal(branches.get('main')?.served, true);
  assert.equal(branches.get('main')?.parent, undefined);
  assert.equal(branches.get('child')?.served, false);
  assert.equal(branches.get('child')?.parent, 'main');
  assert.equal(typeof branches.get('now')?.keptBytes, 'number');
  const table = await at.must('branch', 'list');
  assert.match(table, /^NAME +PARENT +KEEPS +SERVED\n/);
  assert.match(table, /\nmain +- +- +by this server\n/);
  assert.match(table, /\nchild +main +\d.* B +-\n/);
  assert.deepEqual((await at.client.listSnapshots())[0]?.branches, ['child']);

  await at.refused(2, /snapshot "base" .*branch "child"/, 'snapshot', 'delete', 'base');
  await at.refused(2, /branch "main" .*served/, 'branch', 'delete', 'main');
  await at.refused(1, /no branch "none"/, 'branch', 'delete', 'none');
  await at.must('branch', 'delete', 'child');
  await at.must('snapshot', 'delete', 'base');
  await at.client.deleteBranch('now');
  assert.equal((await at.client.listBranches()).length, 1);
});

test('a branch is served beside its parent, each with its own data', async () => {
  await at.write('common');
  await at.must('snapshot', 'create', 'base');
  await at.write('parent');
  await at.must('branch', 'create', 'child', '--from', 'base');
  const child = await at.serveBeside('child', '--branch', 'child');
  await at.expect('common', 'disk', 'child.sock');
  await at.write('child', 'disk', 'child.sock');
  await at.expect('parent');
  await at.expect('child', 'disk', 'child.sock');
  const seen = await at.must('branch', 'list', '--state', 'child');
  assert.match(seen, /\nchild +main +- +by this server\n/);
  await at.refused(2, /branch "child" .*served/, 'branch', 'delete', 'child', '--state', 'child');

  await at.must('branch', 'delete', 'child');
  // What it wants to make durable next tells it.
  await at.box.run(['volume', 'create', 'late', '4M', '--state', 'child']);
  assert.equal((await child.finished).code, 3);
  await at.expect('parent');
});

test('restoring takes all volumes back: data, sizes, names', async () => {
  const { client } = at;
  await client.createVolume('gone', 4 * MIB);
  await at.write('before');
  await at.write('kept', 'gone');
  await client.createSnapshot('base');
  await at.write('after');
  await client.removeVolume('gone');
  await client.resizeVolume('disk', 16 * MIB, false);
  await client.createVolume('fresh', 4 * MIB);
  await at.write('new', 'fresh');
  await client.createSnapshot('later');

  await at.refused(1, /no snapshot "none"/, 'restore', 'none');
  await at.expect('after');
  assert.match(await at.must('restore', 'base'), /^restored snapshot base/);
  const sizes = (await client.listVolumes()).map((one) => [one.name, one.sizeBytes]);
  assert.deepEqual(Object.fromEntries(sizes), { disk: 8 * MIB, gone: 4 * MIB });
  await at.expect('before');
  await at.expect('kept', 'gone');
  await assert.rejects(at.expect('new', 'fresh'), /nbd|NBD/);
  // Nothing of the one that was dropped shines through.
  await client.createVolume('fresh', 4 * MIB);
  await nbdsh(at.uri('fresh'), ['assert h.pread(4096, 0) == bytes(4096)']);

  await client.restore('later');
  await at.expect('after');
  await at.expect('new', 'fresh');
});

test('nothing is restored under a client', async () => {
  await at.write('before');
  await at.must('snapshot', 'create', 'base');
  const launcher = new URL('../../varve', import.meta.url).pathname;
  const restore = ['/usr/bin/env', '-C', at.box.dir, launcher, 'restore', 'base'];
  await nbdsh(at.uri('disk'), [
    'import subprocess',
    'h.pwrite(b"after".ljust(4096), 0)',
    `r = subprocess.run(${JSON.stringify(restore)}, capture_output=True)`,
    'assert r.returncode == 2, r',
    `assert b'volume "disk" is in use: disconnect the clients first' in r.stderr, r`,
    'assert h.pread(512, 0)[:5] == b"after"',
  ]);
  await at.expect('after');
  await at.must('restore', 'base');
  await at.expect('before');
});

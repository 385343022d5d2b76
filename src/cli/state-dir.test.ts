import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { lockStateDir } from './state-dir.ts';

const nobody = (): Promise<boolean> => Promise.resolve(false);
const somebody = (): Promise<boolean> => Promise.resolve(true);
let dir = '';
let lock = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'varve-state-'));
  lock = join(dir, 'lock');
});
afterEach(() => rmSync(dir, { recursive: true }));

test('one daemon at a time, and the next one after it is done', async () => {
  const first = await lockStateDir(join(dir, 'new'), nobody);
  await assert.rejects(
    () => lockStateDir(join(dir, 'new'), nobody),
    (error) => isStorageError(error, 'exists') && error.message.includes(`pid ${process.pid}`),
  );
  first.release();
  (await lockStateDir(join(dir, 'new'), nobody)).release();
  assert.deepEqual(readdirSync(join(dir, 'new')), []);
});

test('the lock of a dead process, and one that is no lock, are taken over', async () => {
  const dead = spawnSync(process.execPath, ['--version']);
  for (const text of [JSON.stringify({ pid: dead.pid, started: '1' }), 'rubbish', '']) {
    writeFileSync(lock, text);
    const taken = await lockStateDir(dir, nobody);
    assert.equal((JSON.parse(readFileSync(lock, 'utf8')) as { pid: number }).pid, process.pid);
    taken.release();
  }
});

test('a pid that is used again by another process does not hold the lock', async () => {
  writeFileSync(lock, JSON.stringify({ pid: process.pid, started: '1' }));
  (await lockStateDir(dir, nobody)).release();
});

test('whoever answers at the admin socket holds the state, wherever its pid is', async () => {
  writeFileSync(lock, JSON.stringify({ pid: 2 ** 22 + 1, started: '1' }));
  await assert.rejects(() => lockStateDir(dir, somebody), /in use/);
});

test('a lock that somebody else has by now is left alone', async () => {
  const mine = await lockStateDir(dir, nobody);
  writeFileSync(lock, JSON.stringify({ pid: 1, started: 'x' }));
  mine.release();
  assert.ok(existsSync(lock));
});

test('of two that find a dead lock only the faster one gets it', async () => {
  writeFileSync(lock, JSON.stringify({ pid: 2 ** 22 + 1, started: '1' }));
  let faster: { release(): void } | undefined;
  // While the slower one asks whether somebody answers, the faster one takes over.
  const overtaken = async (): Promise<boolean> => {
    faster = await lockStateDir(dir, nobody);
    return false;
  };
  await assert.rejects(() => lockStateDir(dir, overtaken), /in use/);
  assert.ok(existsSync(lock), 'the faster one still has it');
  faster?.release();
  assert.deepEqual(readdirSync(dir), []);
});

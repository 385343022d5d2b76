import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { type PassphraseSources, readPassphrase } from './passphrase.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'varve-pass-'));
});
after(() => rm(dir, { recursive: true }));

const NOTHING: PassphraseSources = {
  env: {},
  file: undefined,
  terminal: undefined,
  warn: () => assert.fail('nothing to warn of'),
};

/** A terminal where each question is answered by the next of `lines`, key by key. */
function fakeTerminal(...lines: string[]) {
  const input = Object.assign(new EventEmitter(), {
    raw: false,
    setRawMode(on: boolean): void {
      this.raw = on;
    },
    setEncoding: () => {},
    pause: () => {},
    resume(): void {
      const keys = lines.shift() ?? '';
      setImmediate(() => {
        for (const key of keys) input.emit('data', key);
      });
    },
  });
  const shown: string[] = [];
  const output = { write: (text: string) => shown.push(text) > 0 };
  return { terminal: { input, output } as unknown as Terminal, input, shown };
}

type Terminal = NonNullable<PassphraseSources['terminal']>;

test('the environment goes before the file', async () => {
  const sources = { ...NOTHING, env: { VARVE_PASSPHRASE: ' as it is\n' }, file: '/nowhere' };
  assert.equal(await readPassphrase(sources, { confirm: true }), ' as it is\n');
});

test('a file loses one newline at its end, no more', async () => {
  const file = join(dir, 'one');
  await writeFile(file, ' two words \n\n', { mode: 0o600 });
  assert.equal(await readPassphrase({ ...NOTHING, file }, { confirm: false }), ' two words \n');
});

test('a file that others can read is used, with a warning', async () => {
  const file = join(dir, 'two');
  await writeFile(file, 'secret');
  await chmod(file, 0o640);
  const warnings: string[] = [];
  const sources = { ...NOTHING, file, warn: (text: string) => void warnings.push(text) };
  assert.equal(await readPassphrase(sources, { confirm: false }), 'secret');
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /chmod 600/);
});

test('no source, a missing file and an empty passphrase are bad usage', async () => {
  const empty = { ...NOTHING, env: { VARVE_PASSPHRASE: '' } };
  for (const sources of [NOTHING, { ...NOTHING, file: join(dir, 'none') }, empty]) {
    await assert.rejects(
      () => readPassphrase(sources, { confirm: false }),
      (error) => isStorageError(error, 'invalid'),
    );
  }
});

test('a terminal is asked without echo, and backspace works', async () => {
  const { terminal, input, shown } = fakeTerminal('hexx\u007f\u007fllo\r');
  assert.equal(await readPassphrase({ ...NOTHING, terminal }, { confirm: false }), 'hello');
  assert.equal(shown.join(''), 'Passphrase: \n');
  assert.equal(input.raw, false);
});

test('a new passphrase is asked twice, and a difference is refused', async () => {
  const same = fakeTerminal('abc\r', 'abc\r');
  assert.equal(
    await readPassphrase({ ...NOTHING, terminal: same.terminal }, { confirm: true }),
    'abc',
  );
  const other = fakeTerminal('abc\r', 'abd\r');
  await assert.rejects(
    () => readPassphrase({ ...NOTHING, terminal: other.terminal }, { confirm: true }),
    /differ/,
  );
});

test('Ctrl-C at the prompt gives up and restores the terminal', async () => {
  const { terminal, input } = fakeTerminal('ab\u0003');
  await assert.rejects(
    () => readPassphrase({ ...NOTHING, terminal }, { confirm: false }),
    (error) => isStorageError(error, 'aborted'),
  );
  assert.equal(input.raw, false);
});

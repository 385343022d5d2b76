// The Dockerfile, without an engine to build it: what it copies is there, what it stands on is
// named exactly, and the server is not root.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { SETTING_SPECS } from '../../src/cli/setting-flags.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Instruction {
  readonly name: string;
  readonly text: string;
}

function readDockerfile(): readonly Instruction[] {
  const lines = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [, name, text] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
      assert.ok(name !== undefined && text !== undefined, `not an instruction: ${line}`);
      return { name, text };
    });
}

const INSTRUCTIONS = readDockerfile();
const LAST_STAGE = INSTRUCTIONS.slice(INSTRUCTIONS.findLastIndex(({ name }) => name === 'FROM'));

function texts(name: string, among = INSTRUCTIONS): readonly string[] {
  return among.filter((one) => one.name === name).map(({ text }) => text);
}

function only(name: string): string {
  const found = texts(name, LAST_STAGE);
  assert.equal(found.length, 1, `the image has ${found.length} of ${name}`);
  return found[0]!;
}

test('every base is a release of Debian 12, by its number', () => {
  const bases = texts('FROM');
  assert.ok(bases.length > 0);
  for (const base of bases) assert.match(base, /^debian:12\.\d+-slim( AS build)?$/);
});

test('nothing is fetched but by apt and npm', () => {
  assert.deepEqual(texts('ADD'), []);
  for (const run of texts('RUN')) assert.doesNotMatch(run, /https?:|curl|wget|git clone/);
});

test('what it copies is in the tree, and in what .dockerignore lets through', () => {
  const rules = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
  const sources = texts('COPY')
    .filter((text) => !text.startsWith('--from='))
    .flatMap((text) => text.split(' ').slice(0, -1));
  assert.ok(sources.length > 0);
  for (const source of sources) {
    assert.ok(existsSync(join(ROOT, source)), `${source} is missing`);
    assert.ok(rules.includes(`!${source}`), `.dockerignore leaves ${source} out`);
  }
  const passed = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1));
  assert.deepEqual(passed.toSorted(), sources.toSorted());
});

test('the server is not root, and is asked for its health', () => {
  assert.equal(only('USER'), 'varve');
  const rest = LAST_STAGE.slice(LAST_STAGE.findIndex(({ name }) => name === 'USER'));
  assert.deepEqual(texts('RUN', rest), [], 'nothing is made behind USER');
  assert.match(only('HEALTHCHECK'), /CMD \["varve", "status", "--state", "\/var\/lib\/varve"\]$/);
  assert.equal(only('ENTRYPOINT'), '["varve"]');
  const [command, ...flags] = JSON.parse(only('CMD')) as string[];
  assert.equal(command, 'serve');
  assert.deepEqual(flags, ['--config', '/etc/varve/varve.toml']);
  assert.ok(SETTING_SPECS.some(({ flag }) => flag.startsWith('--state ')));
});

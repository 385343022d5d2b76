import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readTree, tidy, type TidyFile } from './tidy.ts';

function errorsOf(...files: TidyFile[]): readonly string[] {
  return tidy(files).errors;
}

const README: TidyFile = { path: 'src/a/README.md', text: '# a\n' };
const MAIN: TidyFile = { path: 'sim/main.ts', text: "import './../src/a/b.ts';\n" };

test('the tree is tidy', () => {
  assert.deepEqual(tidy(readTree(join(import.meta.dirname, '..'))).errors, []);
});

test('long files are warned of, then refused', () => {
  const file = (lines: number): TidyFile => ({ path: 'a.test.ts', text: '\n'.repeat(lines) });
  assert.deepEqual(tidy([file(300)]), { errors: [], warnings: [] });
  assert.equal(tidy([file(301)]).warnings.length, 1);
  assert.equal(tidy([file(601)]).errors.length, 1);
});

test('long lines are refused, but for addresses and fixtures', () => {
  const long = 'x'.repeat(101);
  assert.match(
    errorsOf({ path: 'a.test.ts', text: `\n${long}\n` })[0]!,
    /^a\.test\.ts:2: 101 columns/,
  );
  assert.deepEqual(errorsOf({ path: 'a.test.ts', text: `${'é'.repeat(100)}\n` }), []);
  assert.deepEqual(errorsOf({ path: 'a.test.ts', text: `// https://${long}\n` }), []);
  assert.deepEqual(errorsOf({ path: 'test/fixtures/a.test.ts', text: long }), []);
});

/** In two parts, or this file would be full of leftovers itself. */
const FIX_ME = 'FIX' + 'ME';
const TRIPLE_X = 'X' + 'XX';

test('leftovers and banned words are found, with their line', () => {
  const cases: [string, RegExp][] = [
    [`// ${FIX_ME} later`, new RegExp(`leftover ${FIX_ME}`)],
    [`// ${TRIPLE_X}`, new RegExp(`leftover ${TRIPLE_X}`)],
    ["const path = '/work/main';", /a path of one machine/],
    ['// as in #123', /an issue number/],
    ['Co-Authored-By: somebody', /talk of its making/],
    ['// left over from the previous session', /talk of its making/],
  ];
  for (const [line, reason] of cases) {
    const [error] = errorsOf({ path: 'docs/x.toml', text: `fine\n${line}\n` });
    assert.match(error ?? 'nothing', reason, line);
    assert.match(error ?? '', /^docs\/x\.toml:2:/, line);
  }
  for (const line of [
    'the network/working set',
    'readonly #size: number',
    'color: #fff',
    'a[#1]',
  ]) {
    assert.deepEqual(errorsOf({ path: 'a.test.ts', text: line }), [], line);
  }
});

test('every folder of code has a short README', () => {
  const code: TidyFile = { path: 'src/a/b.ts', text: '' };
  assert.deepEqual(errorsOf(MAIN, code), ['src/a/: has no README.md']);
  assert.deepEqual(errorsOf(MAIN, code, README), []);
  assert.equal(errorsOf(MAIN, code, { ...README, text: 'x\n'.repeat(41) }).length, 1);
});

test('a file that nothing but its own test imports is dead', () => {
  const code: TidyFile = { path: 'src/a/b.ts', text: '' };
  const own: TidyFile = { path: 'src/a/b.test.ts', text: "import { b } from './b.ts';" };
  assert.deepEqual(errorsOf(README, code, own), ['src/a/b.ts: nothing imports it']);
  assert.deepEqual(errorsOf(README, code, own, MAIN), []);
  const lazy: TidyFile = { path: 'src/cli/main.ts', text: "await import('../a/b.ts');" };
  const cli: TidyFile = { path: 'src/cli/README.md', text: '' };
  assert.deepEqual(errorsOf(README, code, lazy, cli), []);
  const worker: TidyFile = { ...lazy, text: "new URL('../a/b.ts', import.meta.url)" };
  assert.deepEqual(errorsOf(README, code, worker, cli), []);
});

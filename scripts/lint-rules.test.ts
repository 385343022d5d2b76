// Proves that the linter's configuration forbids what the layers forbid: each case is a small file
// at a path of src/, in a tree of its own under the same configuration.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');

interface Case {
  readonly path: string;
  readonly code: string;
  /** The rule that must complain; undefined when nothing may. */
  readonly rule: string | undefined;
}

const IMPORTS = 'no-restricted-imports';
const GLOBALS = 'no-restricted-globals';

function imports(path: string, target: string, rule: string | undefined): Case {
  return { path, code: `import { x } from '${target}';\nexport const y = x;\n`, rule };
}

const LAYERS: readonly Case[] = [
  imports('src/base/a.ts', '../codec/types.ts', IMPORTS),
  imports('src/base/b.ts', './a.ts', undefined),
  imports('src/codec/a.ts', '../objectstore/object-store.ts', IMPORTS),
  imports('src/codec/b.ts', '../base/errors.ts', undefined),
  imports('src/objectstore/s3/a.ts', '../../cache/a.ts', IMPORTS),
  imports('src/objectstore/s3/b.ts', '../keys.ts', undefined),
  imports('src/cache/a.ts', '../engine/db.ts', IMPORTS),
  imports('src/cache/b.ts', '../objectstore/directory.ts', IMPORTS),
  imports('src/cache/c.ts', '../objectstore/object-store.ts', undefined),
  imports('src/engine/log/a.ts', '../../volume/volumes.ts', IMPORTS),
  imports('src/engine/log/b.ts', '../../objectstore/s3/s3-store.ts', IMPORTS),
  imports('src/engine/log/c.ts', '../manifest/manifest.ts', undefined),
  imports('src/volume/a.ts', '../fs/a.ts', IMPORTS),
  imports('src/volume/b.ts', '../engine/tree.ts', IMPORTS),
  imports('src/volume/c.ts', '../engine/log/segment.ts', IMPORTS),
  imports('src/volume/d.ts', '../engine/db.ts', undefined),
  imports('src/fs/ops/a.ts', '../../server/nbd/a.ts', IMPORTS),
  imports('src/fs/ops/b.ts', '../../engine/log/segment.ts', IMPORTS),
  imports('src/proto/nbd/a.ts', '../../volume/block-device.ts', IMPORTS),
  imports('src/proto/nbd/b.ts', '../../base/bytes.ts', undefined),
  imports('src/server/nbd/a.ts', '../../engine/db.ts', IMPORTS),
  imports('src/server/nbd/b.ts', '../../objectstore/memory.ts', IMPORTS),
  imports('src/server/nbd/c.ts', '../../daemon.ts', IMPORTS),
  imports('src/server/http/a.ts', '../../faces.ts', IMPORTS),
  imports('src/server/nbd/d.ts', '../../volume/block-device.ts', undefined),
  imports('src/server/nbd/e.ts', '../../proto/nbd/request.ts', undefined),
  imports('src/attach/a.ts', '../server/nbd/address.ts', IMPORTS),
  imports('src/attach/b.ts', '../cli/settings.ts', IMPORTS),
  imports('src/attach/c.ts', '../proto/nbd/constants.ts', undefined),
  imports('src/server/nbd/f.ts', '../../attach/host.ts', IMPORTS),
  imports('src/cli/a.ts', '../daemon.ts', IMPORTS),
  imports('src/cli/b.ts', '../engine/db.ts', IMPORTS),
  imports('src/cli/c.ts', '../opened-store.ts', IMPORTS),
  imports('src/cli/d.ts', '../offline.ts', undefined),
  imports('src/cli/serve.ts', '../daemon.ts', undefined),
  imports('src/cli/quickstart.ts', '../opened-branch.ts', IMPORTS),
  imports('src/cli/init.ts', '../engine/db.ts', IMPORTS),
  imports('src/daemon.ts', './engine/log/segment.ts', IMPORTS),
  imports('src/opened-branch.ts', './engine/log/segment.ts', IMPORTS),
  imports('src/other.ts', './engine/db.ts', undefined),
  imports('src/volume/a.test.ts', '../objectstore/memory.ts', undefined),
];

const CORE = ['base', 'codec', 'cache', 'engine', 'volume', 'fs'];

const BANS: readonly (readonly [code: string, rule: string])[] = [
  ['export const a = Date.now();', GLOBALS],
  ['export const a = new Date();', GLOBALS],
  ['export const a = performance.now();', GLOBALS],
  ['setTimeout(() => {}, 1);', GLOBALS],
  ['setInterval(() => {}, 1);', GLOBALS],
  ['setImmediate(() => {});', GLOBALS],
  ['export const a = process.env;', GLOBALS],
  ["console.log('x');", GLOBALS],
  ['export const a = crypto.randomUUID();', GLOBALS],
  ['export const a = globalThis.Date;', GLOBALS],
  ['export const a = Math.random();', 'no-restricted-properties'],
  ["export { randomBytes } from 'node:crypto';", IMPORTS],
  ["import { randomUUID } from 'node:crypto';\nexport const a = randomUUID;", IMPORTS],
  ["import * as c from 'node:crypto';\nexport const a = c;", IMPORTS],
  ["import { setTimeout as s } from 'node:timers/promises';\nexport const a = s;", IMPORTS],
  ["import { performance as p } from 'node:perf_hooks';\nexport const a = p;", IMPORTS],
  ["import { env } from 'node:process';\nexport const a = env;", IMPORTS],
];

function banCases(): readonly Case[] {
  const cases: Case[] = [];
  for (const [index, [code, rule]] of BANS.entries()) {
    for (const layer of CORE) cases.push({ path: `src/${layer}/ban-${index}.ts`, code, rule });
    cases.push({ path: `src/engine/ban-${index}.test.ts`, code, rule: undefined });
    cases.push({ path: `src/cli/ban-${index}.ts`, code, rule: undefined });
  }
  const clock = 'export const a = [Date.now(), Math.random(), setTimeout];';
  cases.push({ path: 'src/base/system.ts', code: clock, rule: undefined });
  const hash = "export { createHash } from 'node:crypto';";
  cases.push({ path: 'src/codec/hash.ts', code: hash, rule: undefined });
  return cases;
}

const CASES = [...LAYERS, ...banCases()];
let tree = '';
let found: ReadonlyMap<string, readonly string[]> = new Map();

before(() => {
  tree = mkdtempSync(join(tmpdir(), 'varve-lint-'));
  copyFileSync(join(ROOT, '.oxlintrc.json'), join(tree, '.oxlintrc.json'));
  for (const { path, code } of CASES) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), code);
  }
  found = lint(tree);
});
after(() => rmSync(tree, { recursive: true }));

/** Rules that complained, by file. */
function lint(cwd: string): ReadonlyMap<string, readonly string[]> {
  const tool = join(ROOT, 'node_modules/.bin/oxlint');
  const { stdout, stderr } = spawnSync(tool, ['--format=unix'], {
    cwd,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  assert.match(stdout, /\d+ problems?/, `the linter ran: ${stdout}${stderr}`);
  const rules = new Map<string, string[]>();
  for (const line of stdout.split('\n')) {
    const match = /^(src\/[^:]+):\d+:\d+: .*\[\w+\/\w+\(([\w-]+)\)\]$/.exec(line);
    if (match === null) continue;
    const [, path, rule] = match;
    rules.set(path!, [...(rules.get(path!) ?? []), rule!]);
  }
  return rules;
}

function judge(cases: readonly Case[]): void {
  for (const { path, code, rule } of cases) {
    const rules = (found.get(path) ?? []).filter((name) => name.startsWith('no-restricted-'));
    const shown = `${path}: ${code.split('\n')[0]}: ${rules.join(' ') || 'no complaint'}`;
    if (rule === undefined) assert.equal(rules.length, 0, shown);
    else assert.ok(rules.includes(rule), shown);
  }
}

test('imports point only upward, and the engine has one door', () => judge(LAYERS));

test('the core has no clock, timers, randomness, environment or console of its own', () =>
  judge(banCases()));

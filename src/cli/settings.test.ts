import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseConfig } from './config-file.ts';
import { type FlagValues, SETTING_SPECS } from './setting-flags.ts';
import { anchorPaths, checkServeSettings, resolveSettings } from './settings.ts';

function resolve(flags: FlagValues, text?: string): ReturnType<typeof resolveSettings> {
  return resolveSettings(flags, text === undefined ? undefined : parseConfig('v.toml', text, {}));
}

function complaint(flags: FlagValues, text?: string): string {
  try {
    resolve(flags, text);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error.message;
  }
  return 'nothing';
}

test('without flags and file there are defaults for all but the store', () => {
  const settings = resolve({});
  assert.equal(settings.storeUrl, undefined);
  assert.equal(settings.branch, 'main');
  assert.equal(settings.durability, 'store');
  assert.equal(settings.cacheMemoryBytes, 256 * 2 ** 20);
  assert.equal(settings.cacheDiskBytes, 0);
  assert.equal(settings.snapshot, undefined);
  assert.deepEqual(settings.nbd, []);
  assert.ok(settings.stateDir.endsWith('/varve-state'));
});

test('a flag wins over the file, volumes are merged by name', () => {
  const file = `store = "file:a"
branch = "dev"
read-only = true
nbd = ["127.0.0.1:1"]
[volumes]
one = "1G"
two = 4096
[log]
level = "warn"
format = "json"
`;
  const settings = resolve(
    { store: 'file:b', nbd: ['unix:s'], volumes: ['two=2G', 'th=ree=3G'], 'log.level': 'debug' },
    file,
  );
  assert.equal(settings.storeUrl, 'file:b');
  assert.equal(settings.branch, 'dev');
  assert.equal(settings.readOnly, true);
  assert.deepEqual(settings.nbd, [{ path: 's' }]);
  assert.equal(settings.logLevel, 'debug');
  assert.equal(settings.logFormat, 'json');
  assert.deepEqual(settings.volumes, [
    { name: 'one', sizeBytes: 2 ** 30 },
    { name: 'two', sizeBytes: 2 * 2 ** 30 },
    { name: 'th=ree', sizeBytes: 3 * 2 ** 30 },
  ]);
});

test('a complaint names the line of the file, or the flag', () => {
  assert.match(
    complaint({}, 'store = "memory:"\ntypo = 1\n'),
    /^v\.toml:2: typo: there is no such/,
  );
  assert.match(
    complaint({}, '[cache]\nmemory = "1G"\nmemroy = 1\n'),
    /^v\.toml:3: cache\.memroy: /,
  );
  assert.match(
    complaint({}, '\n[cache]\nmemory = "1X"\n'),
    /^v\.toml:3: cache\.memory: "1X" is not/,
  );
  assert.match(complaint({}, 'nbd = "127.0.0.1:1"\n'), /^v\.toml:1: nbd: .*expected array/);
  assert.match(complaint({}, 'durability = "none"'), /^v\.toml:1: durability: .*"store"/);
  assert.match(
    complaint({}, '[volumes]\n"a" = "x"\n'),
    /^v\.toml:2: volumes\.a: "x" is not a size/,
  );
  assert.match(complaint({ 'cache.memory': 'lots' }), /^--cache-memory: "lots" is not a size/);
  assert.match(complaint({ 'cache.disk': 'lots' }), /^--cache-disk: "lots" is not a size/);
  assert.match(complaint({ volumes: ['disk=huge'] }), /^--volume: "huge" is not a size/);
  assert.match(complaint({ volumes: ['disk'] }), /^--volume: "disk" must be NAME=SIZE/);
  assert.match(complaint({ nbd: ['nowhere:x'] }), /^--nbd: .*nowhere:x.*HOST:PORT/);
  assert.match(complaint({ 's3.endpoint': 'ftp://x' }), /^--s3-endpoint: /);
});

test('a snapshot is served read-only or not at all', () => {
  assert.throws(() => checkServeSettings(resolve({ snapshot: 's' })), /--read-only/);
  checkServeSettings(resolve({ snapshot: 's', 'read-only': true }));
  checkServeSettings(resolve({}));
  assert.equal(
    resolve({}, 'snapshot = "s"').snapshot,
    's',
    'a client takes the file without flags',
  );
});

test('paths in a file are relative to the file, flags to the working directory', () => {
  const text = `store = "file:data"
state = "st"
passphrase-file = "/abs/pass"
nbd = ["unix:run/nbd.sock", "127.0.0.1:10809"]
`;
  const file = anchorPaths(parseConfig('v.toml', text, {}), '/etc/varve/varve.toml');
  const settings = resolveSettings({}, file);
  assert.equal(settings.storeUrl, 'file:/etc/varve/data');
  assert.equal(settings.stateDir, '/etc/varve/st');
  assert.equal(settings.passphraseFile, '/abs/pass');
  assert.deepEqual(settings.nbd[0], { path: '/etc/varve/run/nbd.sock' });
  assert.equal(resolveSettings({ state: '/other' }, file).stateDir, '/other');
  const plain = anchorPaths(parseConfig('v.toml', '', {}), '/etc/varve/varve.toml');
  assert.equal(resolveSettings({ store: 'memory:' }, plain).storeUrl, 'memory:');
});

test('the manual has a row for each setting, with its key and its flag', () => {
  const manual = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  for (const { key, flag } of SETTING_SPECS) {
    const name = key === 'volumes' ? 'volumes.NAME' : key;
    const row = manual.split('\n').find((line) => line.startsWith(`| \`${name}\` |`));
    assert.ok(row !== undefined, `docs/configuration.md has no row for ${name}`);
    assert.ok(row.includes(`\`${flag.split(' ')[0]}\``), `the row of ${name} lacks its flag`);
  }
  const rows = manual.match(/^\| `[^`]+` \|/gm) ?? [];
  assert.equal(rows.length, SETTING_SPECS.length, 'a row for a setting that is no more');
});

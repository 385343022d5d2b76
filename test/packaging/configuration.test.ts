// What is installed fits together: example configurations, units, and the command line.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMANDS } from '../../src/cli/commands.ts';
import { type ConfigFile, parseConfig } from '../../src/cli/config-file.ts';
import * as exitCodes from '../../src/cli/exit-codes.ts';
import { SETTING_SPECS } from '../../src/cli/setting-flags.ts';
import { anchorPaths, checkServeSettings, resolveSettings } from '../../src/cli/settings.ts';
import { readUnit } from './unit-file.ts';

const PACKAGING = join(import.meta.dirname, '../../packaging');
const CONFIGURATION = '/etc/varve/varve.toml';

function example(name: string, env: Readonly<Record<string, string>> = {}): ConfigFile {
  const text = readFileSync(join(PACKAGING, name), 'utf8');
  return anchorPaths(parseConfig(name, text, env), CONFIGURATION);
}

test('the example is a configuration that a server takes', () => {
  const settings = resolveSettings({}, example('varve.toml'));
  checkServeSettings(settings);
  assert.equal(settings.storeUrl, 's3://my-bucket/varve');
  assert.deepEqual(
    settings.volumes.map(({ name }) => name),
    ['data'],
  );
});

test('so it is with every setting that it shows', () => {
  const text = readFileSync(join(PACKAGING, 'varve.toml'), 'utf8');
  const shown = text.replaceAll(/^#(?! |$)/gm, '');
  assert.notEqual(shown, text);
  const file = anchorPaths(parseConfig('varve.toml', shown, {}), CONFIGURATION);
  const settings = resolveSettings({}, file);
  checkServeSettings(settings);
  // The settings shown at their default have it; the others are examples.
  const defaults = resolveSettings({}, undefined);
  for (const key of ['branch', 'durability', 'journal', 'timeout', 'cipher'] as const) {
    assert.deepEqual(settings[key], defaults[key], key);
  }
  assert.equal(settings.cacheMemoryBytes, defaults.cacheMemoryBytes);
  assert.equal(settings.compression, defaults.compression);
  assert.equal(settings.logLevel, defaults.logLevel);
});

test('the unit of the server has the example’s state and socket', () => {
  const unit = readUnit('varve.service');
  const settings = resolveSettings({}, example('varve.toml'));
  assert.equal(settings.stateDir, `/var/lib/${unit.value('Service', 'StateDirectory')}`);
  const sockets = `/run/${unit.value('Service', 'RuntimeDirectory')}`;
  assert.deepEqual(settings.nbd, [{ path: `${sockets}/nbd.sock` }]);
});

test('what the units say is said to the command line as it is', () => {
  const unit = readUnit('varve.service');
  assert.deepEqual(unit.value('Service', 'ExecStart').split(' ').slice(0, 4), [
    '/usr/bin/varve',
    'serve',
    '--config',
    CONFIGURATION,
  ]);
  for (const key of ['ExecStart', 'ExecReload']) {
    const [, name, ...rest] = unit.value('Service', key).split(' ');
    const command = COMMANDS.find((one) => one.name === name);
    assert.ok(command !== undefined, `${key}: there is no varve ${name}`);
    const flags = SETTING_SPECS.filter(({ users }) => users.includes(command.user));
    const known = ['--config', ...flags.map(({ flag }) => flag.split(' ')[0])];
    for (const word of rest.filter((one) => one.startsWith('-'))) {
      assert.ok(known.includes(word), `${key}: varve ${name} has no ${word}`);
    }
  }
});

test('attachments find the server by its state, and start and stop with it', () => {
  const unit = readUnit('varve-attach@.service');
  const { stateDir } = resolveSettings({}, example('varve.toml'));
  assert.equal(unit.value('Service', 'ExecStart'), `/usr/bin/varve attach %i --state ${stateDir}`);
  assert.equal(unit.value('Service', 'ExecStop'), `/usr/bin/varve detach %i --state ${stateDir}`);
  assert.equal(unit.value('Unit', 'Requires'), 'varve.service');
  assert.ok(unit.values('Unit', 'After').includes('varve.service'));
});

test('no start is tried again that cannot end otherwise', () => {
  const codes = readUnit('varve.service').value('Service', 'RestartPreventExitStatus').split(' ');
  const { EXIT_USAGE, EXIT_FENCED, EXIT_WRONG_PASSPHRASE, EXIT_CORRUPT } = exitCodes;
  assert.deepEqual(codes.map(Number), [
    EXIT_USAGE,
    EXIT_FENCED,
    EXIT_WRONG_PASSPHRASE,
    EXIT_CORRUPT,
  ]);
});

test('a stop is given the time that a flush may take', () => {
  const { timeout } = resolveSettings({}, example('varve.toml'));
  const unit = readUnit('varve.service');
  const minutes = Number(/^(\d+)min$/.exec(unit.value('Service', 'TimeoutStopSec'))?.[1]);
  assert.ok(minutes * 60_000 > timeout.writeMs);
});

test('the container’s configuration takes the store from the environment', () => {
  const env = { VARVE_STORE: 's3://bucket/prefix' };
  const settings = resolveSettings({}, example('container/varve.toml', env));
  checkServeSettings(settings);
  assert.equal(settings.storeUrl, 's3://bucket/prefix');
  assert.throws(() => example('container/varve.toml'), /\$\{VARVE_STORE\}, which is not set/);
});

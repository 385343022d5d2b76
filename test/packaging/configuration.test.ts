// What is installed fits together: example configurations, units, and the command line.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMANDS } from '../../src/cli/commands.ts';
import { type ConfigFile, parseConfig } from '../../src/cli/config-file.ts';
import * as exitCodes from '../../src/cli/exit-codes.ts';
import { SETTING_SPECS } from '../../src/cli/setting-flags.ts';
import { formatTable } from '../../src/cli/text-table.ts';
import { anchorPaths, checkServeSettings, resolveSettings } from '../../src/cli/settings.ts';
import { readUnit } from './unit-file.ts';

const PACKAGING = join(import.meta.dirname, '../../packaging');
const CONFIGURATION = '/etc/varve/varve.toml';
const INSTALL = readFileSync(join(PACKAGING, '../docs/install.md'), 'utf8');
/** Of the package systemd; makes units of the lines of fstab at boot. */
const FSTAB_GENERATOR = '/lib/systemd/system-generators/systemd-fstab-generator';

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

/** Throws when `varve` does not take the command line, of which it is the first word. */
function assertKnown(line: string): void {
  const [program, name, ...rest] = line.split(' ');
  assert.match(program!, /(^|\/)varve$/);
  const command = COMMANDS.find((one) => one.name.split(' ')[0] === name);
  assert.ok(command !== undefined, `there is no varve ${name}`);
  const settings = SETTING_SPECS.filter(({ users }) => users.includes(command.user));
  const flags = [...settings.map(({ flag }) => flag), ...(command.options ?? []).map(([f]) => f)];
  const known = ['--config', ...flags.map((flag) => flag.split(' ')[0])];
  for (const word of rest.filter((one) => one.startsWith('-'))) {
    assert.ok(known.includes(word), `varve ${name} has no ${word}`);
  }
}

test('what the units say is said to the command line as it is', () => {
  const unit = readUnit('varve.service');
  assert.deepEqual(unit.value('Service', 'ExecStart').split(' ').slice(0, 4), [
    '/usr/bin/varve',
    'serve',
    '--config',
    CONFIGURATION,
  ]);
  for (const key of ['ExecStart', 'ExecReload']) assertKnown(unit.value('Service', key));
  const attach = readUnit('varve-attach@.service');
  for (const key of ['ExecStart', 'ExecStop']) assertKnown(attach.value('Service', key));
});

test('so are the lines of the page about installing', () => {
  const lines = INSTALL.matchAll(/^ {4}(?:.*[ (])?(varve [a-z]+ [^#)\n]*)/gm);
  const commands = Array.from(lines, ([, command]) => command!.trim());
  assert.ok(commands.length > 3, commands.join('\n'));
  for (const command of commands) assertKnown(command);
  assert.throws(() => assertKnown('varve attach data --no-such-flag'));
});

test('attachments find the server by its state, start behind it, and outlive its restart', () => {
  const unit = readUnit('varve-attach@.service');
  const { stateDir } = resolveSettings({}, example('varve.toml'));
  assert.equal(unit.value('Service', 'ExecStart'), `/usr/bin/varve attach %i --state ${stateDir}`);
  assert.equal(unit.value('Service', 'ExecStop'), `/usr/bin/varve detach %i --state ${stateDir}`);
  assert.ok(unit.values('Unit', 'Wants').includes('varve.service'));
  assert.ok(unit.values('Unit', 'After').includes('varve.service'));
  // Each of these would stop the attachment, and all that is mounted on it, with the server.
  for (const key of ['Requires', 'Requisite', 'BindsTo', 'PartOf', 'StopPropagatedFrom']) {
    assert.deepEqual(unit.values('Unit', key), [], key);
  }
});

test('behind its start, attachments that have lost their server are restarted, no others', () => {
  const line = readUnit('varve.service').value('Service', 'ExecStartPost');
  const [, script] = /^-\+\/bin\/sh -c '([^']+)'$/.exec(line) ?? [];
  assert.ok(script !== undefined, line);
  assertKnown(/\S+varve attach [^|]+/.exec(script)![0].trim());
  // As systemd gives it to the shell; what it calls are functions that say what they are told.
  const list = formatTable(
    [
      ['VOLUME', 'DEVICE', 'HOW', 'STATE', 'SERVER'],
      ['data', '/dev/loop0', 'nbdfuse', 'read-write', 'nbd+unix:///data?socket=nbd.sock'],
      [
        'pg',
        '/dev/loop1',
        'nbdfuse',
        'lost its server: detach it',
        'nbd+unix:///pg?socket=nbd.sock',
      ],
    ],
    [],
  );
  const shell =
    `varve() { printf %s "$LIST"; }; systemctl() { echo "$*"; }; ` +
    script.replaceAll('$$', '$').replace('/usr/bin/varve', 'varve');
  const env = { PATH: '/usr/bin:/bin', LIST: list };
  const said = execFileSync('/bin/sh', ['-c', shell], { env, encoding: 'utf8' });
  assert.deepEqual(said.trimEnd().split('\n'), [
    'kill --signal=KILL varve-attach@pg.service',
    '--no-block try-restart varve-attach@pg.service',
  ]);
});

test('the line for fstab mounts behind the attachment, and holds no boot up', () => {
  const [line] = INSTALL.split('\n').filter((one) => /^ {4}UUID=/.test(one));
  assert.ok(line !== undefined);
  const dir = mkdtempSync(join(tmpdir(), 'varve-fstab-'));
  try {
    const uuid = '6f2a3c58-7d0b-4c0e-9a51-2f6d1b0c9e77';
    const fstab = join(dir, 'fstab');
    writeFileSync(fstab, `${line.replace('…', uuid).trim()}\n`);
    const env = { PATH: '/usr/bin:/bin', SYSTEMD_FSTAB: fstab };
    execFileSync(FSTAB_GENERATOR, [dir, dir, dir], { env, stdio: 'ignore' });
    const unit = readFileSync(join(dir, 'srv-data.mount'), 'utf8');
    for (const key of ['Requires', 'After']) {
      assert.match(unit, new RegExp(`^${key}=varve-attach@data\\.service$`, 'm'));
    }
    assert.match(unit, new RegExp(`^What=/dev/disk/by-uuid/${uuid}$`, 'm'));
    // Wanted with the network's file systems, whose target does not wait for it.
    assert.ok(existsSync(join(dir, 'remote-fs.target.wants/srv-data.mount')));
    assert.doesNotMatch(unit, /^Before=(local|remote)-fs\.target$/m);
  } finally {
    rmSync(dir, { recursive: true });
  }
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

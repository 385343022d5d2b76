// What the command line says without any server: bad usage, and the lack of a server.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createVarveBox, type VarveBox } from '../support/varve-process.ts';

let box: VarveBox;
before(async () => {
  box = await createVarveBox();
});
after(() => box.remove());

test('bad usage is one line on stderr and exit 2', async () => {
  await writeFile(join(box.dir, 'bad.toml'), 'store = "memory:"\n\ntypo = 1\n');
  const cases: [string[], RegExp][] = [
    [[], /no command given/],
    [['bogus'], /unknown command 'bogus'/],
    [['serve', '--bogus'], /unknown option '--bogus'/],
    [['volume', 'create', 'one'], /missing required argument 'size'/],
    [['volume', 'create', 'one', 'big'], /"big" is not a size/],
    [['snapshot', 'create'], /missing required argument 'name'/],
    [['branch', 'create', 'x', '--from'], /'--from <snapshot>' argument missing/],
    [['serve', '--store', 'memory:', '--snapshot', 'x'], /--read-only to serve "x"/],
    [['flush', 'now'], /too many arguments/],
    [['status', '--config', 'bad.toml'], /bad\.toml:3: typo: there is no such key/],
    [['status', '--config', 'none.toml'], /cannot read the configuration: .*none\.toml/],
    [['init', '--cipher', 'rot13'], /--cipher: .*aes-256-gcm/],
  ];
  for (const [args, reason] of cases) {
    const { code, stdout, stderr } = await box.run(args);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, reason);
    assert.match(stderr, /^varve: [^\n]+\n$/, 'one line');
    assert.equal(stdout, '');
  }
});

test('without a server its commands fail and say how to start one', async () => {
  for (const args of [
    ['status'],
    ['flush'],
    ['volume', 'list'],
    ['volume', 'delete', 'x'],
    ['snapshot', 'list'],
    ['branch', 'create', 'x'],
    ['restore', 'x'],
    ['gc'],
  ]) {
    const { code, stderr } = await box.run(args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, /^varve: no server runs at .*admin\.sock: .*varve serve.*\n$/);
  }
});

test('help goes to stdout and is no error', async () => {
  const { code, stdout, stderr } = await box.run(['serve', '--help']);
  assert.equal(code, 0);
  assert.match(stdout, /--passphrase-file/);
  assert.equal(stderr, '');
});

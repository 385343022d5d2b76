// `varve attach` and `varve detach` on this host: nbdfuse and a loop device, real programs on top.

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { recordsDirOf } from '../../src/attach/records.ts';
import { nbdsh, runCommand, until } from '../support/command.ts';
import { type CommandBox, createCommandBox, STORE } from './command-box.ts';

/** This host may have the kernel's NBD or not: here it is the other way that is tried. */
const BY_NBDFUSE = ['--how', 'nbdfuse'];

let at: CommandBox;
beforeEach(async () => {
  at = await createCommandBox();
});
afterEach(async () => {
  rmSync(records(), { recursive: true, force: true });
  await at.box.remove();
});

function records(): string {
  return recordsDirOf(join(at.box.dir, 'varve-state'));
}

async function attach(...flags: string[]): Promise<string> {
  const said = await at.must('attach', 'disk', ...BY_NBDFUSE, ...flags);
  assert.match(said, /^\/dev\/loop\d+\n$/, 'the path of the device and nothing else');
  return said.trim();
}

async function detachForSure(): Promise<void> {
  await until('the device is free', async () => {
    return (await at.box.run(['detach', 'disk'])).code === 0;
  });
}

test('attach, mount, write; detach only when not in use; both are idempotent', async () => {
  const device = await attach();
  const point = join(at.box.dir, 'mnt');
  await mkdir(point);
  try {
    assert.equal(await attach(), device);
    const sectors = await runCommand('blockdev', ['--getss', device]);
    assert.equal(sectors.trim(), '4096');
    await runCommand('mkfs.ext4', ['-q', device]);
    await runCommand('mount', [device, point]);
    await writeFile(join(point, 'file'), 'kept');
    await at.refused(1, new RegExp(`${device}, .*mounted at ${point}: umount`), 'detach', 'disk');
    await at.refused(1, /attached at .* with readOnly false/, 'attach', 'disk', '--read-only');
    await runCommand('umount', [point]);
    const [row] = JSON.parse(await at.must('attach', '--list', '--json'));
    assert.equal(row.device, device);
    assert.equal(row.stale, false);
    assert.equal(await at.must('detach', device), '');
    const again = await at.box.run(['detach', 'disk']);
    assert.deepEqual([again.code, again.stderr], [0, 'varve: disk is not attached\n']);
    assert.match(await at.must('attach', '--list'), /^nothing is attached/);
    // What the page cache held is in the volume: it is there on another device.
    const readOnly = await attach('--read-only');
    await runCommand('mount', ['-o', 'ro,noload', readOnly, point]);
    assert.equal(await readFile(join(point, 'file'), 'utf8'), 'kept');
    await assert.rejects(runCommand('dd', ['if=/dev/zero', `of=${readOnly}`, 'bs=4k', 'count=1']));
    await runCommand('umount', [point]);
  } finally {
    await runCommand('umount', [point]).catch(() => {});
    await detachForSure();
  }
  assert.equal(existsSync(join(records(), 'disk.fuse')), false);
});

test('what cannot be attached is refused with the reason', async () => {
  await at.refused(1, /no volume "none": varve volume list/, 'attach', 'none');
  await at.refused(2, /attach what\?/, 'attach');
  await at.refused(2, /--how: "magic" must be one of/, 'attach', 'disk', '--how', 'magic');
  await at.refused(2, /--reconnect: "yes" must/, 'attach', 'disk', '--reconnect', 'yes');
  await at.refused(2, /--patience: "0"/, 'attach', 'disk', '--patience', '0');
  await at.refused(2, /takes TLS/, 'attach', 'disk', '--server', 'nbds://localhost');
  const absent = ['--server', `nbd+unix:///?socket=${at.box.dir}/none.sock`];
  await at.refused(
    1,
    /nbdfuse ended: .*none\.sock|connect/,
    'attach',
    'disk',
    ...BY_NBDFUSE,
    ...absent,
  );
  assert.equal(existsSync(join(records(), 'disk.fuse')), false);
});

test('with --reconnect never a device fails with its server, and is attached anew', async () => {
  const device = await attach('--reconnect', 'never');
  try {
    await at.server.stop('SIGKILL');
    assert.match(await at.must('attach', '--list'), /lost its server/);
    const write = ['if=/dev/zero', `of=${device}`, 'bs=4k', 'count=1', 'oflag=direct'];
    await assert.rejects(runCommand('dd', write), /Input\/output error|No such device/);
    await at.box.serve([...STORE, '--nbd', 'unix:nbd.sock']);
    const again = await attach('--reconnect', 'never');
    await runCommand('dd', write.with(1, `of=${again}`));
  } finally {
    await detachForSure();
  }
});

/** A restart takes longer than a few seconds on a slow machine; the crash is waited for as long. */
const PATIENCE_SECONDS = '20';

test('a device survives a restart of its server under load, and not a crash', async () => {
  const device = await attach('--patience', PATIENCE_SECONDS);
  try {
    const job = ['--name=v', '--rw=randwrite', '--bs=4k', '--size=8M', '--randseed=5'];
    const check = ['--verify=crc32c', '--verify_fatal=1'];
    const queue = ['--direct=1', '--ioengine=libaio', '--iodepth=4', '--fsync=8'];
    const load = [...job, ...check, ...queue, `--filename=${device}`];
    const writing = runCommand('fio', load, { cwd: at.box.dir });
    const { barriers } = await at.client.status();
    await until('fio writes', async () => (await at.client.status()).barriers > barriers + 20);
    const { code } = await at.server.stop();
    assert.equal(code, 0);
    const next = await at.box.serve([...STORE, '--nbd', 'unix:nbd.sock']);
    await writing;
    assert.equal(await attach('--patience', PATIENCE_SECONDS), device);

    await next.stop('SIGKILL');
    await at.box.serve([...STORE, '--nbd', 'unix:nbd.sock']);
    assert.match(await at.must('attach', '--list'), /lost its server/);
    const write = ['if=/dev/zero', `of=${device}`, 'bs=4k', 'count=1', 'oflag=direct'];
    await assert.rejects(runCommand('dd', write), /Input\/output error|No such device/);
    const again = await attach();
    await runCommand('dd', write.with(1, `of=${again}`));
  } finally {
    await detachForSure();
  }
});

test('with --reconnect always a server that is killed takes no answered write along', async () => {
  const device = await attach('--reconnect', 'always');
  try {
    const job = ['--name=v', '--rw=randwrite', '--bs=4k', '--size=4M', '--randseed=5'];
    const check = ['--verify=crc32c', '--verify_fatal=1'];
    const queue = ['--direct=1', '--ioengine=libaio', '--iodepth=4', '--do_verify=0'];
    const writing = runCommand('fio', [...job, ...check, ...queue, `--filename=${device}`], {
      cwd: at.box.dir,
    });
    const { barriers } = await at.client.status();
    await until('fio writes', async () => (await at.client.status()).barriers > barriers + 100);
    await at.server.stop('SIGKILL');
    await at.box.serve([...STORE, '--nbd', 'unix:nbd.sock']);
    await writing;
    // Not through the device, whose page cache would answer.
    const nbd = ['--ioengine=nbd', `--uri=${at.uri('disk')}`, '--verify_only'];
    await runCommand('fio', [...job, ...check, ...nbd], { cwd: at.box.dir });
    await nbdsh(at.uri('disk'), ['h.flush()']);
  } finally {
    await detachForSure();
  }
});

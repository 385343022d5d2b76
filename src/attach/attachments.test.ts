import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../base/system.ts';
import type { AttachRequest } from './attacher.ts';
import { type Attachments, createAttachments } from './attachments.ts';
import {
  createFakeHost,
  failWith,
  type FakeHost,
  withKernelNbd,
  withLoopDevices,
  withVerifier,
} from './testing.ts';

const REQUEST: AttachRequest = {
  volume: 'pg',
  upstream: { socket: '/run/varve.sock' },
  readOnly: false,
  reconnect: 'never',
  patienceSeconds: 30,
};
const CLEAN: AttachRequest = { ...REQUEST, reconnect: 'clean' };
const MOUNT = '36 35 7:0 / /srv/my\\040pg rw shared:1 - ext4 /dev/loop0 rw\n';

let dir: string;
let host: FakeHost;
let attachments: Attachments;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'varve-attach-'));
  host = createFakeHost();
  withLoopDevices(host);
  attachments = createAttachments({ host, clock: systemClock, dir });
});
afterEach(() => rmSync(dir, { recursive: true }));

test('attach by nbdfuse and loop, once; detach syncs and leaves nothing', async () => {
  const record = await attachments.attach(REQUEST, 'auto');
  assert.equal(record.device, '/dev/loop0');
  assert.equal(record.how, 'nbdfuse');
  const folder = join(dir, 'pg.fuse');
  assert.deepEqual(host.ran, [
    `nbdfuse ${folder}/disk nbd+unix:///pg?socket=/run/varve.sock`,
    `losetup --find --show --direct-io=off --sector-size 4096 ${folder}/disk`,
  ]);
  assert.equal(statSync(join(dir, 'pg.json')).mode & 0o777, 0o600);
  assert.deepEqual(await attachments.attach(REQUEST, 'auto'), record);
  assert.equal(host.ran.length, 2, 'the second time nothing is started');
  assert.deepEqual(await attachments.list(), [{ ...record, stale: false }]);

  host.ran.length = 0;
  assert.deepEqual(await attachments.detach('/dev/loop0'), { ...record, stale: false });
  const went = ['sync /dev/loop0', 'losetup --detach /dev/loop0', `umount ${folder}`];
  assert.deepEqual(host.ran, went);
  assert.deepEqual(readdirSync(dir), []);
  assert.equal(await attachments.detach('pg'), undefined);
  assert.equal(await attachments.detach('/dev/loop0'), undefined);
});

test('with reconnect always every write is a barrier', async () => {
  await assert.rejects(attachments.attach({ ...REQUEST, reconnect: 'always' }, 'nbdfuse'), {
    kind: 'unavailable',
    message: /nbdfuse: nbdkit missing: apt-get install nbdkit/,
  });
  host.programs.add('nbdkit');
  await attachments.attach({ ...REQUEST, reconnect: 'always' }, 'auto');
  assert.match(host.ran[0]!, /\[ nbdkit .*--filter=fua --filter=retry nbd .*fuamode=force .*\]$/);
  await assert.rejects(attachments.attach(REQUEST, 'auto'), {
    kind: 'exists',
    message: 'pg is attached at /dev/loop0 with reconnect always: detach it first',
  });
});

test('with reconnect clean the export’s name has the server’s write verifier', async () => {
  withKernelNbd(host);
  await assert.rejects(attachments.attach(CLEAN, 'auto'), /nbdinfo missing: .* libnbd-bin/);
  for (const program of ['nbdinfo', 'nbdkit']) host.programs.add(program);
  await attachments.attach(CLEAN, 'kernel');
  assert.equal(host.ran[0], 'nbdinfo --json nbd+unix:///pg%2F?socket=/run/varve.sock');
  assert.match(host.ran[1]!, /^nbdkit --log=syslog --unix .* uri=nbd\+unix:\/\/\/pg%2F1\?/);
  await attachments.detach('pg');
  host.ran.length = 0;
  await attachments.attach(CLEAN, 'nbdfuse');
  const proxy = /\[ nbdkit .* --filter=retry nbd uri=nbd\+unix:\/\/\/pg%2F1\?.* retries=30 .*\]$/;
  assert.match(host.ran[1]!, proxy);
  assert.doesNotMatch(host.ran[1]!, /fua/);
});

test('behind a crash of its server a device is lost, and attached anew', async () => {
  for (const program of ['nbdinfo', 'nbdkit']) host.programs.add(program);
  const record = await attachments.attach(CLEAN, 'auto');
  host.acts.set('nbdinfo', failWith('nobody listens'));
  assert.deepEqual(await attachments.attach(CLEAN, 'auto'), record, 'it may come back');
  withVerifier(host, '2');
  assert.equal((await attachments.list())[0]?.stale, true);
  host.files.set('/proc/self/mountinfo', MOUNT);
  await assert.rejects(attachments.attach(CLEAN, 'auto'), /mounted at \/srv\/my pg/);
  host.files.delete('/proc/self/mountinfo');
  host.ran.length = 0;
  const again = await attachments.attach(CLEAN, 'auto');
  assert.notEqual(again.pid, record.pid);
  assert.equal(again.exportName, 'pg/2');
  assert.doesNotMatch(host.ran.join(), /sync/);
  assert.deepEqual([...host.processes.keys()], [again.pid], 'what waited for the old one is gone');
});

const USES: readonly (readonly [what: string, use: () => void, expected: RegExp])[] = [
  [
    'mounted',
    () => void host.files.set('/proc/self/mountinfo', MOUNT),
    /^\/dev\/loop0, the volume pg, is mounted at \/srv\/my pg: umount it first$/,
  ],
  [
    'a mounted partition',
    () => {
      host.files.set('/sys/block/loop0/loop0p1/dev', '259:3\n');
      host.files.set('/proc/self/mountinfo', MOUNT.replace('7:0', '259:3'));
    },
    /mounted at \/srv\/my pg/,
  ],
  [
    'swap',
    () => void host.files.set('/proc/swaps', 'Filename Type\n/dev/loop0 partition 8 0 -2\n'),
    /used as swap: swapoff \/dev\/loop0 first/,
  ],
  [
    'a part of something',
    () => void host.files.set('/sys/block/loop0/holders/dm-0', ''),
    /part of dm-0: take that down first/,
  ],
  ['in a pool', () => void host.claimed.add('/dev/loop0'), /claimed by the kernel: a zpool/],
  ['open', () => void host.open.set('/dev/loop0', 'fio'), /open in fio \(pid 7\)/],
];

for (const [what, use, expected] of USES) {
  test(`a device that is ${what} is not detached`, async () => {
    const record = await attachments.attach(REQUEST, 'auto');
    use();
    host.ran.length = 0;
    await assert.rejects(attachments.detach('pg'), { kind: 'unavailable', message: expected });
    assert.deepEqual(host.ran, []);
    assert.deepEqual(await attachments.attach(REQUEST, 'auto'), record);
  });
}

test('what cannot be flushed is not detached', async () => {
  await attachments.attach(REQUEST, 'auto');
  host.acts.set('sync', failWith('EIO'));
  await assert.rejects(
    attachments.detach('pg'),
    /stays: what was written cannot be flushed.*: EIO/,
  );
  assert.equal((await attachments.list())[0]?.stale, false);
  host.files.set('/proc/self/mountinfo', MOUNT);
  await assert.rejects(attachments.detach('pg', true), /mounted at/);
  assert.equal(host.processes.size, 0, 'what waits for the server has failed');
  host.files.delete('/proc/self/mountinfo');
  assert.equal((await attachments.detach('pg', true))?.stale, true);
  assert.deepEqual(readdirSync(dir), []);
});

test('an attachment whose process is gone is taken away and made anew', async () => {
  await attachments.attach(REQUEST, 'auto');
  host.processes.clear();
  assert.equal((await attachments.list())[0]?.stale, true);
  host.files.set('/proc/self/mountinfo', MOUNT);
  await assert.rejects(attachments.attach(REQUEST, 'auto'), /mounted at \/srv\/my pg/);
  host.files.delete('/proc/self/mountinfo');
  host.ran.length = 0;
  const again = await attachments.attach(REQUEST, 'auto');
  assert.deepEqual(
    host.ran.map((line) => line.split(' ')[0]),
    ['losetup', 'umount', 'nbdfuse', 'losetup'],
  );
  assert.equal(again.pid, 102);
  assert.deepEqual(await attachments.list(), [{ ...again, stale: false }]);
});

test('an attachment whose server is gone is stale, and goes without a flush', async () => {
  await attachments.attach(REQUEST, 'auto');
  host.dead.add(join(dir, 'pg.fuse/disk'));
  assert.equal((await attachments.list())[0]?.stale, true);
  host.ran.length = 0;
  assert.equal((await attachments.detach('pg'))?.stale, true);
  assert.doesNotMatch(host.ran.join(), /sync/);
  assert.deepEqual(readdirSync(dir), []);
});

test('what an attach that was killed left without a record is taken away', async () => {
  await attachments.attach(REQUEST, 'auto');
  rmSync(join(dir, 'pg.json'));
  assert.equal(await attachments.detach('pg'), undefined);
  assert.equal(host.files.has('/sys/block/loop0/loop/backing_file'), false);
  assert.deepEqual(readdirSync(dir), []);
});

test('after a boot nothing of a record holds', async () => {
  withKernelNbd(host);
  await attachments.attach(REQUEST, 'kernel');
  host.bootId = 'boot-2';
  assert.equal((await attachments.list())[0]?.stale, true);
  host.ran.length = 0;
  await attachments.detach('pg');
  assert.deepEqual(host.ran, [], 'another may have the device now');
  assert.equal(existsSync(join(dir, 'pg.json')), false);
});

test('an attach that fails on the way leaves nothing behind', async () => {
  host.acts.set('losetup', failWith('losetup: no free loop device'));
  await assert.rejects(attachments.attach(REQUEST, 'auto'), /no free loop device/);
  host.acts.set('nbdfuse', () => {
    host.processes.clear();
    host.files.set(join(dir, 'pg.log'), 'nbdfuse: cannot connect:\nno such export\n');
    return '';
  });
  const refused = { message: 'nbdfuse ended: nbdfuse: cannot connect:; no such export' };
  await assert.rejects(attachments.attach(REQUEST, 'auto'), refused);
  assert.deepEqual(readdirSync(dir), []);
  assert.equal(host.processes.size, 0);
});

test('refusals: no root, missing programs, no device, a record that is none', async () => {
  host.programs.clear();
  await assert.rejects(attachments.attach(REQUEST, 'auto'), {
    message:
      'pg cannot be attached: kernel: nbd-client missing: apt-get install nbd-client; ' +
      'nbdfuse: nbdfuse and losetup and umount missing: apt-get install libnbd-bin mount',
  });
  host.programs.add('nbd-client');
  await assert.rejects(attachments.attach(REQUEST, 'kernel'), /no free \/dev\/nbdN/);
  writeFileSync(join(dir, 'pg.json'), '{');
  await assert.rejects(attachments.detach('pg'), { kind: 'corrupt' });
  host.root = false;
  await assert.rejects(attachments.attach(REQUEST, 'auto'), { kind: 'denied', message: /sudo/ });
  await assert.rejects(attachments.detach('pg'), { kind: 'denied' });
});

test('a volume may have any name', async () => {
  const volume = '../ü /x';
  const record = await attachments.attach({ ...REQUEST, volume }, 'auto');
  assert.equal(record.server, 'nbd+unix:///..%2F%C3%BC%20%2Fx?socket=/run/varve.sock');
  assert.deepEqual(readdirSync(dir).toSorted(), [
    '..%2F%C3%BC%20%2Fx.fuse',
    '..%2F%C3%BC%20%2Fx.json',
  ]);
  assert.deepEqual(await attachments.detach(volume), { ...record, stale: false });
});

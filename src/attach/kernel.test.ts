// The kernel's NBD as a way, through the door.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
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
} from './testing.ts';

const REQUEST: AttachRequest = {
  volume: 'pg',
  upstream: { socket: '/run/varve.sock' },
  readOnly: false,
  reconnect: 'never',
  patienceSeconds: 30,
};
const CLEAN: AttachRequest = { ...REQUEST, reconnect: 'clean' };

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

test('the kernel comes first; its session says whose', async () => {
  withKernelNbd(host);
  const record = await attachments.attach({ ...REQUEST, readOnly: true }, 'auto');
  const line = 'nbd-client -unix /run/varve.sock /dev/nbd0 -N pg -b 4096 -C 4 -timeout 330 -R';
  assert.deepEqual(host.ran, [line]);
  assert.equal(record.device, '/dev/nbd0');
  // Taken over by another client in the meantime: it is not ours to disconnect.
  host.files.set('/sys/block/nbd0/pid', '9\n');
  assert.equal((await attachments.list())[0]?.stale, true);
  assert.equal((await attachments.detach('pg'))?.stale, true);
  assert.deepEqual(host.ran, [line]);
  host.files.delete('/sys/block/nbd0/pid');
  host.files.set('/sys/block/nbd0/size', '0\n');
  await attachments.attach({ ...REQUEST, upstream: { host: '::1', port: 10_809 } }, 'kernel');
  assert.match(host.ran.at(-1)!, /^nbd-client ::1 10809 \/dev\/nbd0 -N pg /);
  await attachments.detach('pg');
  assert.deepEqual(host.ran.slice(-2), ['sync /dev/nbd0', 'nbd-client -d /dev/nbd0']);
});

test('a device of the kernel outlives its server behind an nbdkit that goes with it', async () => {
  withKernelNbd(host);
  const missing = /kernel: nbdkit missing/;
  await assert.rejects(attachments.attach({ ...REQUEST, reconnect: 'always' }, 'kernel'), missing);
  host.programs.add('nbdkit');
  const always = await attachments.attach({ ...REQUEST, reconnect: 'always' }, 'kernel');
  const socket = join(dir, 'pg.sock');
  assert.match(
    host.ran[0]!,
    /^nbdkit --log=syslog --unix \S+\/pg\.sock .*--filter=fua --filter=retry nbd uri=/,
  );
  assert.equal(
    host.ran[1],
    `nbd-client -unix ${socket} /dev/nbd0 -N pg -b 4096 -C 8 -timeout 604800`,
  );
  assert.deepEqual((await attachments.list())[0], { ...always, stale: false });
  host.dead.add('/dev/nbd0');
  assert.equal((await attachments.list())[0]?.stale, false, 'a read would wait: none is sent');
  await attachments.detach('pg');
  assert.deepEqual(host.ran.slice(-2), ['sync /dev/nbd0', 'nbd-client -d /dev/nbd0']);
  assert.equal(host.processes.size, 0);

  const again = await attachments.attach({ ...REQUEST, reconnect: 'always' }, 'kernel');
  host.end(again.pid!);
  assert.equal((await attachments.list())[0]?.stale, true);
  // The pid is another's by now.
  host.files.set(`/proc/${again.pid}/cmdline`, 'sshd\0');
  host.processes.set(again.pid!, 'another');
  await attachments.detach('pg');
  assert.equal(host.ran.at(-1), 'nbd-client -d /dev/nbd0');
  assert.equal(host.processes.size, 1);
});

test('what an attach by the kernel leaves when it fails, or is killed, is taken away', async () => {
  withKernelNbd(host);
  host.programs.add('nbdkit').add('nbdinfo');
  const connect = host.acts.get('nbd-client')!;
  host.acts.set('nbd-client', failWith('Socket failed'));
  await assert.rejects(attachments.attach(CLEAN, 'kernel'), /Socket failed/);
  assert.equal(host.processes.size, 0);
  host.acts.set('nbd-client', connect);
  await attachments.attach(CLEAN, 'kernel');
  rmSync(join(dir, 'pg.json'));
  await attachments.detach('pg');
  assert.equal(host.processes.size, 0);
});

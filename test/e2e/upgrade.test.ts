// The server's process is replaced while clients use it: none of them notices but by the wait.
//
// VARVE_E2E_UPGRADES: how often under fio (default 3).

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAdminClient } from '../../src/server/http/client.ts';
import { type UpgradeReport, upgradeReport } from '../../src/server/http/report.ts';
import { attachVolume } from '../support/attach.ts';
import { nbdsh, runCommand, until } from '../support/command.ts';
import type { Finished } from '../support/varve-process.ts';
import { type ServerOptions, startServer, type TestServer } from '../support/server.ts';

const UPGRADES = Number(process.env['VARVE_E2E_UPGRADES'] ?? 3);

/** What an upgrade started, and a failed test left behind. */
const started = new Set<number>();
after(() => {
  for (const pid of started) killIfThere(pid);
});

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH');
  }
}

async function upgrade(server: TestServer): Promise<UpgradeReport> {
  const report = upgradeReport.parse(JSON.parse(await server.command('upgrade', '--json')));
  started.add(report.pid);
  return report;
}

/** The first process's end: its output is open as long as one that replaced it lives. */
async function stopReplaced(server: TestServer, pid: number): Promise<Finished> {
  process.kill(pid, 'SIGTERM');
  const ended = await server.ended;
  started.delete(pid);
  assert.equal(existsSync(join(server.stateDir, 'lock')), false, 'the last one cleaned up');
  assert.equal(existsSync(join(server.stateDir, 'admin.sock')), false);
  return ended;
}

/** Writes and verifies, again and again, until `done`. Rejects at the first error. */
async function verifyUntil(done: () => boolean, fio: readonly string[]): Promise<number> {
  let rounds = 0;
  for (; !done() || rounds === 0; rounds++) {
    const job = ['--name=verify', '--rw=randwrite', '--verify=crc32c', '--verify_fatal=1'];
    await runCommand('fio', [...job, '--bsrange=4k-64k', `--randseed=${rounds}`, ...fio]);
  }
  return rounds;
}

test('ext4 on nbdfuse and raw NBD over TCP, verified by fio, survive upgrades', async (t) => {
  const port = await freePort();
  const volumes = { disk: '256M', raw: '64M' };
  // The journal changes hands too: the new process takes up what the old one left, if anything.
  const flags = ['--nbd', `127.0.0.1:${port}`, '--durability', 'journal'];
  const server = await startServer({ volumes, flags });
  let pid = server.pid;
  const device = await attachVolume({ uri: server.uri, dir: server.dir });
  const point = join(server.dir, 'mnt');
  const waits: number[] = [];
  try {
    await runCommand('mkfs.ext4', ['-q', device.path]);
    await mkdir(point);
    await runCommand('mount', [device.path, point]);
    let upgraded = false;
    const done = (): boolean => upgraded;
    const [inFiles, onTcp] = [
      verifyUntil(done, [`--directory=${point}`, '--size=8M', '--fsync=16']),
      verifyUntil(done, [
        '--ioengine=nbd',
        `--uri=nbd://127.0.0.1:${port}/raw`,
        '--size=32M',
        '--iodepth=16',
      ]),
    ];
    const upgrades = (async () => {
      for (let i = 0; i < UPGRADES; i++) {
        const report = await upgrade(server);
        assert.notEqual(report.pid, pid);
        assert.equal(report.closed, 0, 'no connection was cut');
        pid = report.pid;
        waits.push(report.waitedMs);
      }
    })().finally(() => (upgraded = true));
    const [, files, raw] = await Promise.all([upgrades, inFiles, onTcp]);
    t.diagnostic(`waits ${waits.join(', ')} ms; rounds of fio: ${files} on ext4, ${raw} on TCP`);
    await runCommand('umount', [point]);
    await runCommand('e2fsck', ['-f', '-n', device.path]);
  } finally {
    await runCommand('umount', [point]).catch(() => {});
    await device.detach();
    const ended = await stopReplaced(server, pid);
    await server.remove();
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(ended.stdout.match(/^ready /gm)?.length, 1 + waits.length);
    assert.doesNotMatch(ended.stderr, /ERROR/);
  }
});

test('libnbd goes on with one connection over SIGUSR2', async () => {
  const server = await startServer();
  try {
    const lock = join(server.stateDir, 'lock');
    const script = [
      'import json, os, signal, subprocess, time',
      `lock = ${JSON.stringify(lock)}`,
      'pid = lambda: json.load(open(lock))["pid"] if os.path.exists(lock) else 0',
      'old = pid()',
      'h.pwrite(b"1" * 4096, 0)',
      'os.kill(old, signal.SIGUSR2)',
      // Requests cross the upgrade: some before it, some that wait for it, some after it.
      'n, limit = 0, time.time() + 90',
      'while pid() in (0, old) or n % 100:',
      '    assert time.time() < limit, "the new process came late"',
      '    n += 1',
      '    h.pwrite(n.to_bytes(8, "big") * 512, 4096)',
      '    if n % 7 == 0: h.flush()',
      '    assert h.pread(4096, 4096) == n.to_bytes(8, "big") * 512',
      'assert h.pread(4096, 0) == b"1" * 4096',
      'h.flush()',
      'print(pid())',
    ];
    started.add(Number(await nbdsh(server.uri, script)));
    const [pid] = [...started].slice(-1);
    const ended = await stopReplaced(server, pid!);
    assert.equal(ended.code, 0, ended.stderr);
    await server.restart();
    await nbdsh(server.uri, ['assert h.pread(4096, 0) == b"1" * 4096']);
  } finally {
    await server.remove();
  }
});

/** Starts from a varve.toml that a test can spoil. */
async function startFromFile(more: ServerOptions = {}): Promise<[TestServer, string]> {
  const server = await startServer(more);
  await server.stop();
  const file = join(server.dir, 'varve.toml');
  await writeFile(file, 'branch = "main"\n');
  await server.restart(['--config', file]);
  return [server, file];
}

test('a new process that cannot start changes nothing', async () => {
  const [server, file] = await startFromFile();
  try {
    await server.command('branch', 'create', 'other');
    const client = nbdsh(server.uri, [
      'import os, time',
      'h.pwrite(b"a" * 4096, 0)',
      `while not os.path.exists(${JSON.stringify(join(server.dir, 'go'))}): time.sleep(0.02)`,
      'assert h.pread(4096, 0) == b"a" * 4096',
      'h.flush()',
    ]);
    await writeFile(file, 'no-such-key = 1\n');
    const broken = await server.run(['upgrade']);
    assert.equal(broken.code, 1, broken.stderr);
    assert.match(broken.stderr, /the new process cannot take over: it ended \(exit code 2\)/);
    await writeFile(file, 'branch = "other"\n');
    const elsewhere = await server.run(['upgrade']);
    assert.equal(elsewhere.code, 2, elsewhere.stderr);
    assert.match(elsewhere.stderr, /names another store, branch or snapshot/);
    await writeFile(join(server.dir, 'go'), '');
    await client;
    assert.equal((await server.status()).epoch, 2, 'the branch was not opened again');
    assert.equal((await server.stop()).code, 0);
  } finally {
    await server.remove();
  }
});

test('what was acknowledged is there, whichever process is killed on the way', async () => {
  const server = await startServer();
  try {
    for (const when of ['starting', 'closing', 'handing']) {
      const counting = nbdsh(server.uri, [
        'n = 0',
        'try:',
        '    while True:',
        '        h.pwrite((n + 1).to_bytes(8, "big") * 512, 0, nbd.CMD_FLAG_FUA)',
        '        n += 1',
        'except nbd.Error: print(n)',
      ]);
      await until('something is acknowledged', async () => (await server.status()).durable > 5);
      const noted = await killDuring(server, when, counting);
      await until('nobody has the branch', async () => {
        const tried = await server.restart().then(
          () => true,
          // The new process holds the listeners until it hears that the old one is gone.
          (error: Error) => !/is in use|listens there/.test(error.message),
        );
        return tried;
      });
      const lines = ['print(int.from_bytes(h.pread(512, 0)[:8], "big"))'];
      const found = Number(await nbdsh(server.uri, lines));
      assert.ok(found >= noted, `${when}: acknowledged ${noted}, found ${found}`);
      await nbdsh(server.uri, ['h.zero(4096, 0)', 'h.flush()']);
    }
    assert.equal((await server.stop()).code, 0);
  } finally {
    await server.remove();
  }
});

/**
 * SIGKILL for the old process as soon as the upgrade tells this, and for the new one if that was
 * too late to matter to it. Resolves with the count that was noted.
 */
async function killDuring(
  server: TestServer,
  when: string,
  counting: Promise<string>,
): Promise<number> {
  const client = createAdminClient(join(server.stateDir, 'admin.sock'));
  const old = server.pid;
  // It may be through before the signal comes: then the new process is the one to end.
  await client
    .upgrade((what) => {
      if (what.startsWith(when)) killIfThere(old);
    })
    .catch(() => {});
  let over = false;
  const noted = counting.finally(() => (over = true));
  await until('the clients are cut off', async () => {
    const text = await readFile(join(server.stateDir, 'lock'), 'utf8').catch(() => '{}');
    const { pid } = JSON.parse(text) as { readonly pid?: number };
    if (pid !== undefined && pid !== old) killIfThere(pid);
    return over;
  });
  return Number(await noted);
}

test('a follower is replaced under its reader', async () => {
  const server = await startServer();
  const store = `file:${server.storeDir}`;
  await nbdsh(server.uri, ['h.pwrite(b"f" * 4096, 0, nbd.CMD_FLAG_FUA)']);
  const reader = await startServer({ store, init: false, volumes: {}, flags: ['--read-only'] });
  try {
    const report = join(reader.dir, 'report');
    const reading = nbdsh(reader.uri, [
      'import os',
      `report = ${JSON.stringify(report)}`,
      'while not os.path.exists(report): assert h.pread(4096, 0) == b"f" * 4096',
      'assert h.pread(4096, 0) == b"f" * 4096',
    ]);
    await until(
      'the reader reads',
      async () => (await reader.status()).cache['memory'] !== undefined,
    );
    const { pid, closed } = await upgrade(reader);
    await writeFile(report, '');
    await reading;
    assert.equal(closed, 0);
    assert.equal((await stopReplaced(reader, pid)).code, 0);
    assert.equal((await server.stop()).code, 0);
  } finally {
    await reader.remove();
    await server.remove();
  }
});

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const { promise, resolve } = Promise.withResolvers<number>();
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const bound = probe.address();
    probe.close(() => resolve(typeof bound === 'object' ? bound!.port : 0));
  });
  return promise;
}

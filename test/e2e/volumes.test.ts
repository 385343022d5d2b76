// Volumes and the life of a server, as a person sees them on the command line.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { nbdsh, runCommand } from '../support/command.ts';
import { startServer, type TestServer } from '../support/server.ts';

const MIB = 1024 * 1024;

let server: TestServer;
beforeEach(async () => {
  server = await startServer();
});
afterEach(() => server.remove());

async function sizeOf(uri: string): Promise<number> {
  return Number(await runCommand('nbdinfo', ['--size', uri]));
}

async function names(): Promise<readonly string[]> {
  const list = JSON.parse(await server.command('volume', 'list', '--json')) as { name: string }[];
  return list.map(({ name }) => name).toSorted();
}

test('a volume is created, listed, written, deleted, and its name can be had again', async () => {
  await server.command('volume', 'create', 'two', '8M');
  assert.deepEqual(await names(), ['disk', 'two']);
  const uri = server.uriOf('two');
  assert.equal(await sizeOf(uri), 8 * MIB);
  await nbdsh(uri, ['h.pwrite(b"old" * 512, 0)', 'h.flush()']);
  await server.command('volume', 'delete', 'two');
  assert.deepEqual(await names(), ['disk']);
  await assert.rejects(runCommand('nbdinfo', [uri]), /No such file or directory/);
  await server.command('volume', 'create', 'two', '8M');
  await nbdsh(uri, ['assert h.pread(8 << 20, 0) == bytes(8 << 20)']);
});

test('a volume with a client is not deleted', async () => {
  await nbdsh(server.uri, [
    'import subprocess',
    `r = subprocess.run(${JSON.stringify([...varve(), 'volume', 'delete', 'disk'])}, ` +
      'capture_output=True)',
    'assert r.returncode == 2, r',
    'assert b"in use" in r.stderr, r',
    'assert h.pread(512, 0) == bytes(512)',
  ]);
  assert.deepEqual(await names(), ['disk']);
});

test('growing online: an open connection keeps its size, a new one has the new size', async () => {
  const grow = [...varve(), 'volume', 'resize', 'disk', '128M'];
  await nbdsh(server.uri, [
    'import subprocess',
    'h.pwrite(b"x" * 4096, 0, nbd.CMD_FLAG_FUA)',
    `subprocess.run(${JSON.stringify(grow)}, check=True, capture_output=True)`,
    'assert h.get_size() == 64 << 20',
    'h.set_strict_mode(0)',
    'try: h.pwrite(b"y" * 4096, 64 << 20)',
    'except nbd.Error as e: assert e.errno == "ENOSPC", e.errno',
    'else: raise AssertionError("wrote past the end")',
    'g = nbd.NBD()',
    `g.connect_uri(${JSON.stringify(server.uri)})`,
    'assert g.get_size() == 128 << 20',
    'g.pwrite(b"z" * 4096, (128 << 20) - 4096, nbd.CMD_FLAG_FUA)',
    'assert h.pread(4096, 0) == b"x" * 4096',
  ]);
  await server.kill9();
  await server.restart();
  assert.equal(await sizeOf(server.uri), 128 * MIB);
  await nbdsh(server.uri, ['assert h.pread(4096, (128 << 20) - 4096) == b"z" * 4096']);
});

test('shrinking is refused unless forced, and what is cut off does not come back', async () => {
  await nbdsh(server.uri, ['h.pwrite(b"tail" * 1024, 32 << 20)', 'h.flush()']);
  const refused = await server.run(['volume', 'resize', 'disk', '16M']);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /--force/);
  assert.equal(await sizeOf(server.uri), 64 * MIB);
  await server.command('volume', 'resize', 'disk', '16M', '--force');
  assert.equal(await sizeOf(server.uri), 16 * MIB);
  await server.command('volume', 'resize', 'disk', '64M');
  await nbdsh(server.uri, ['assert h.pread(4096, 32 << 20) == bytes(4096)']);
});

test('--read-only serves what is there and refuses every change', async () => {
  await nbdsh(server.uri, ['h.pwrite(b"kept" * 1024, 0)', 'h.flush()']);
  assert.equal((await server.stop()).code, 0);
  await server.restart(['--read-only']);
  const [info] = JSON.parse(await runCommand('nbdinfo', ['--json', server.uri])).exports;
  assert.equal(info.is_read_only, true);
  await nbdsh(server.uri, [
    'assert h.pread(4096, 0) == b"kept" * 1024',
    'h.set_strict_mode(0)',
    'for change in (lambda: h.pwrite(b"x" * 512, 0), lambda: h.zero(512, 0),',
    '               lambda: h.trim(512, 0)):',
    '    try: change()',
    '    except nbd.Error as e: assert e.errno == "EPERM", e.errno',
    '    else: raise AssertionError("changed")',
  ]);
  assert.equal((await server.run(['volume', 'create', 'new', '1M'])).code, 1);
  assert.equal((await server.stop()).code, 0);
});

test('a wrong passphrase exits with 4, SIGTERM and SIGINT with 0 and everything kept', async () => {
  await nbdsh(server.uri, ['h.pwrite(b"one" * 512, 0)']);
  const ended = await server.stop('SIGTERM');
  assert.equal(ended.code, 0, ended.stderr);
  const wrong = await server.serveToEnd([], { VARVE_PASSPHRASE: 'not this one' });
  assert.equal(wrong.code, 4, wrong.stderr);
  await server.restart();
  await nbdsh(server.uri, ['assert h.pread(1536, 0) == b"one" * 512']);
  assert.equal((await server.stop('SIGINT')).code, 0);
});

test('SIGTERM with a client that stays connected: what it wrote is durable', async () => {
  await nbdsh(server.uri, [
    'import os, signal, time',
    'h.pwrite(b"late" * 1024, 0)',
    `os.kill(${server.pid}, signal.SIGTERM)`,
    'deadline = time.monotonic() + 60',
    'while time.monotonic() < deadline:',
    '    try: h.pread(512, 0)',
    '    except nbd.Error: break',
  ]);
  assert.equal((await server.ended).code, 0);
  await server.restart();
  await nbdsh(server.uri, ['assert h.pread(4096, 0) == b"late" * 1024']);
});

/** The command line of a client of this server, without its command. */
function varve(): readonly string[] {
  const launcher = new URL('../../varve', import.meta.url).pathname;
  return ['/usr/bin/env', '-C', server.dir, 'sh', '-c', `${launcher} "$@" --state state`, 'varve'];
}

// libnbd's tools against the server: what they see, copy and compare must be what the device holds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSeededRng } from '../../src/base/rng.ts';
import { createMemoryVolume } from '../support/memory-device.ts';
import { nbdsh, run, serveVolumes } from './harness.ts';

const MIB = 1024 * 1024;

function randomBytes(seed: number, count: number): Buffer {
  return Buffer.from(createSeededRng(seed).bytes(count));
}

test('nbdinfo sees sizes, flags and contexts, on both kinds of socket', async (t) => {
  const { uri, tcp } = await serveVolumes(t, [
    createMemoryVolume('disk', 8 * MIB, { description: 'a test volume' }),
    createMemoryVolume('frozen', 4 * MIB, { readOnly: true }),
  ]);
  for (const one of [uri(), `nbd://127.0.0.1:${tcp.port}/disk`]) {
    const [info] = JSON.parse(await run('nbdinfo', ['--json', one])).exports;
    assert.equal(info['export-size'], 8 * MIB);
    assert.equal(info.description, 'a test volume');
    assert.equal(info.block_size_minimum, 512);
    assert.equal(info.block_size_preferred, 4096);
    assert.equal(info.block_size_maximum, 32 * MIB);
    assert.deepEqual(info.contexts, ['base:allocation']);
    for (const can of ['cache', 'df', 'fast_zero', 'flush', 'fua', 'multi_conn', 'trim', 'zero']) {
      assert.equal(info[`can_${can}`], true, can);
    }
    assert.equal(info.is_read_only, false);
  }
  const [frozen] = JSON.parse(await run('nbdinfo', ['--json', uri('frozen')])).exports;
  assert.equal(frozen.is_read_only, true);
  const listed = JSON.parse(await run('nbdinfo', ['--list', '--json', uri('')])).exports;
  assert.deepEqual(
    listed.map((one: Record<string, unknown>) => one['export-name']),
    ['disk', 'frozen'],
  );
  await assert.rejects(run('nbdinfo', [uri('missing')]), /No such file or directory/);
});

test('the empty name means the only export', async (t) => {
  const { uri } = await serveVolumes(t);
  assert.equal((await run('nbdinfo', ['--size', uri('')])).trim(), String(64 * MIB));
});

test('nbdinfo --map shows data, holes and allocated zeroes', async (t) => {
  const { uri } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
  await nbdsh(uri(), [
    'h.connect_uri("$URI")',
    'h.pwrite(b"x" * 8192, 65536)',
    'h.zero(4096, 131072, nbd.CMD_FLAG_NO_HOLE)',
  ]);
  const map = JSON.parse(await run('nbdinfo', ['--map', '--json', uri()]));
  assert.deepEqual(
    map.map(({ offset, length, type }: Record<string, number>) => [offset, length, type]),
    [
      [0, 65536, 3],
      [65536, 8192, 0],
      [73728, 57344, 3],
      [131072, 4096, 2],
      [135168, MIB - 135168, 3],
    ],
  );
});

test('nbdcopy copies a sparse image in and out over several connections', async (t) => {
  const { uri, directory, server } = await serveVolumes(t, [createMemoryVolume('disk', 48 * MIB)]);
  const image = join(directory, 'image');
  const file = await open(image, 'w');
  await file.truncate(48 * MIB);
  await file.write(randomBytes(1, 3 * MIB), 0, 3 * MIB, 5 * MIB);
  await file.write(randomBytes(2, 300_000), 0, 300_000, 40 * MIB + 12_345);
  await file.close();
  await run('nbdcopy', ['--connections=4', '--threads=4', '--flush', image, uri()]);
  assert.ok(server.counters.connections >= 2, 'nbdcopy used multi-conn');
  assert.ok(server.counters.flushes > 0);
  const back = join(directory, 'back');
  await run('nbdcopy', ['--connections=4', uri(), back]);
  assert.ok((await readFile(back)).equals(await readFile(image)));
});

test('libnbd: FUA, flush, cache, trim, fast zero, DF and unaligned refusals', async (t) => {
  const { uri, volume } = await serveVolumes(t, [createMemoryVolume('disk', MIB)]);
  await nbdsh(uri(), [
    'h.set_strict_mode(0)',
    'h.connect_uri("$URI")',
    'h.pwrite(b"a" * 4096, 0, nbd.CMD_FLAG_FUA)',
    'h.cache(4096, 0)',
    'assert h.pread(4096, 0, nbd.CMD_FLAG_DF) == bytearray(b"a" * 4096)',
    'h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)',
    'assert h.pread(4096, 0) == bytearray(4096)',
    'h.pwrite(b"b" * 512, 512)',
    'h.trim(1048576, 0)',
    'h.flush()',
    'def fails(what, errno):',
    '    try: what()',
    '    except nbd.Error as e: assert e.errno == errno, (e.errno, errno)',
    '    else: raise AssertionError("no " + errno)',
    'fails(lambda: h.pwrite(b"c", 1), "EINVAL")',
    'fails(lambda: h.pread(512, 1048576), "EINVAL")',
    'fails(lambda: h.pwrite(b"d" * 512, 1048576), "ENOSPC")',
    'fails(lambda: h.zero(512, 1048576), "ENOSPC")',
    'fails(lambda: h.trim(512, 1048576), "EINVAL")',
    'assert h.pread(512, 512) == bytearray(512)',
    'h.shutdown()',
  ]);
  assert.equal(volume.calls.flush, 2, 'one for FUA, one asked for');
  assert.equal(volume.calls.prefetch, 1);
});

test('libnbd without structured replies reads and is told its errors', async (t) => {
  const { uri } = await serveVolumes(t, [createMemoryVolume('disk', 8 * MIB, { readOnly: true })]);
  await nbdsh(uri(), [
    'h.set_request_structured_replies(False)',
    'h.connect_uri("$URI")',
    'h.set_strict_mode(0)',
    'assert h.pread(4 << 20, 0) == bytearray(4 << 20)',
    'try: h.pwrite(b"x" * 512, 0)',
    'except nbd.Error as e: assert e.errno == "EPERM", e.errno',
    'else: raise AssertionError("written")',
  ]);
});

test('nbdfuse mounts the export as a file', { skip: !existsSync('/dev/fuse') }, async (t) => {
  const { uri, directory } = await serveVolumes(t);
  const mount = join(directory, 'mount');
  await mkdir(mount);
  const child = spawn('nbdfuse', [mount, uri()], { stdio: ['ignore', 'inherit', 'inherit'] });
  const over = new Promise<void>((resolve, reject) => {
    child.once('error', () => reject(new Error('nbdfuse is missing: install the package nbdfuse')));
    child.once('close', () => resolve());
  });
  // nbdfuse says nothing when it is ready: wait until the file is there, or it has ended.
  let running = true;
  void over.then(
    () => (running = false),
    () => (running = false),
  );
  const disk = join(mount, 'nbd');
  while (running && !existsSync(disk)) await new Promise((resolve) => setImmediate(resolve));
  try {
    const data = randomBytes(3, 2 * MIB);
    const file = await open(disk, 'r+');
    await file.write(data, 0, data.length, MIB);
    await file.sync();
    const back = Buffer.alloc(data.length);
    await file.read(back, 0, back.length, MIB);
    await file.close();
    assert.ok(back.equals(data));
    await writeFile(join(directory, 'done'), '');
  } finally {
    await run('fusermount', ['-u', mount]).catch(() => run('fusermount3', ['-u', mount]));
    await over;
  }
});

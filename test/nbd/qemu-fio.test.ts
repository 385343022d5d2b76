// QEMU's client and fio against the server, with data verified by the clients themselves.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSeededRng } from '../../src/base/rng.ts';
import { createMemoryVolume } from '../support/memory-device.ts';
import { run, serveVolumes } from './harness.ts';

const MIB = 1024 * 1024;

test('qemu-img converts an image in and out, and finds them identical', async (t) => {
  const { uri, directory } = await serveVolumes(t, [createMemoryVolume('disk', 16 * MIB)]);
  const image = join(directory, 'image');
  const bytes = Buffer.alloc(16 * MIB);
  bytes.set(createSeededRng(7).bytes(2 * MIB), 3 * MIB);
  await writeFile(image, bytes);
  await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, uri()]);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri()]);
  const back = join(directory, 'back');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri(), back]);
  assert.ok((await readFile(back)).equals(bytes));
});

test('qemu-io writes patterns, zeroes, discards and flushes, and reads them back', async (t) => {
  const { uri, volume } = await serveVolumes(t, [createMemoryVolume('disk', 64 * MIB)]);
  const commands = [
    'write -P 0x11 0 1M',
    'write -P 0x22 1M 64k',
    'write -z 64k 64k',
    'write -f -P 0x33 2M 4k',
    'aio_write -P 0x44 3M 2M',
    'aio_flush',
    'discard 512k 128k',
    'flush',
    'read -P 0x11 0 64k',
    'read -P 0x00 64k 64k',
    'read -P 0x11 128k 384k',
    'read -P 0x00 512k 128k',
    'read -P 0x22 1M 64k',
    'read -P 0x33 2M 4k',
    'read -P 0x44 3M 2M',
    'read -P 0x00 5M 59M',
  ];
  const output = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((c) => ['-c', c]), uri()]);
  assert.doesNotMatch(output, /verification failed|error/i);
  assert.ok(volume.calls.flush > 0);
});

test('fio verifies random writes of mixed sizes at depth 32', async (t) => {
  const { uri, server } = await serveVolumes(t, [createMemoryVolume('disk', 32 * MIB)]);
  const output = await run('fio', [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${uri()}`,
    '--rw=randwrite',
    '--bsrange=4k-256k',
    '--iodepth=32',
    '--size=32M',
    '--verify=crc32c',
    '--do_verify=1',
    '--verify_fatal=1',
    '--randseed=42',
    '--output-format=json',
  ]);
  const [job] = JSON.parse(output.slice(output.indexOf('{'))).jobs;
  assert.equal(job.error, 0);
  assert.equal(job.read.io_bytes, 32 * MIB, 'all that was written was read back');
  assert.equal(server.counters.errors, 0);
});

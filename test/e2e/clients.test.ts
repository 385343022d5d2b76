// Real clients against the real server: what each of them checks by itself must hold.

import assert from 'node:assert/strict';
import { cp, mkdir, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { attachVolume } from '../support/attach.ts';
import { nbdsh, runCommand } from '../support/command.ts';
import { expectSameFiles, writeRandomFile } from '../support/random-file.ts';
import { startServer, type TestServer } from '../support/server.ts';

const MIB = 1024 * 1024;

let server: TestServer;
beforeEach(async () => {
  server = await startServer({ volumes: { disk: '64M', big: '512M' } });
});
afterEach(() => server.remove());

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

async function mapOf(uri: string): Promise<readonly (readonly [number, number, number])[]> {
  const entries = JSON.parse(await runCommand('nbdinfo', ['--map', '--json', uri])) as MapEntry[];
  return entries.map(({ offset, length, type }) => [offset, length, type] as const);
}

test('nbdinfo: size, flags, a map with holes where nothing is', async () => {
  const [info] = JSON.parse(await runCommand('nbdinfo', ['--json', server.uri])).exports;
  assert.equal(info['export-size'], 64 * MIB);
  for (const can of ['flush', 'fua', 'multi_conn', 'trim', 'zero', 'df', 'cache', 'fast_zero']) {
    assert.equal(info[`can_${can}`], true, can);
  }
  await nbdsh(server.uri, [
    'h.pwrite(b"d" * (1 << 20), 1 << 20)',
    'h.flush()',
    'h.trim(128 << 10, (1 << 20) + (256 << 10))',
    'h.zero(64 << 10, 4 << 20, nbd.CMD_FLAG_NO_HOLE)',
    'h.flush()',
  ]);
  const expected = [
    [0, MIB, 3],
    [MIB, 256 * 1024, 0],
    [MIB + 256 * 1024, 128 * 1024, 3],
    [MIB + 384 * 1024, 640 * 1024, 0],
    [2 * MIB, 2 * MIB, 3],
    [4 * MIB, 64 * 1024, 2],
    [4 * MIB + 64 * 1024, 60 * MIB - 64 * 1024, 3],
  ];
  assert.deepEqual(await mapOf(server.uri), expected);
  await server.kill9();
  await server.restart();
  assert.deepEqual(await mapOf(server.uri), expected, 'the same after a crash');
});

test('nbdsh: FUA, flush, zero, trim, cache, block status, unaligned writes', async () => {
  await nbdsh(server.uri, [
    'h = nbd.NBD()',
    'h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)',
    `h.connect_uri(${JSON.stringify(server.uri)})`,
    'h.pwrite(b"a" * 8192, 0, nbd.CMD_FLAG_FUA)',
    'h.pwrite(b"b" * 512, 1024)',
    'h.zero(2048, 2048)',
    'h.trim(4096, 4096)',
    'h.flush()',
    'h.cache(8192, 0)',
    'want = b"a" * 1024 + b"b" * 512 + b"a" * 512 + bytes(2048 + 4096)',
    'assert h.pread(8192, 0) == want',
    'got = []',
    'h.pread_structured(8192, 0, lambda b, at, state, e: got.append((at, bytes(b))),',
    '                   nbd.CMD_FLAG_DF)',
    'assert got == [(0, want)], [at for at, _ in got]',
    'seen = []',
    'h.block_status(16384, 0, lambda name, at, entries, error: seen.extend(entries))',
    'assert seen == [4096, 0, 12288, 3], seen',
  ]);
});

test('nbdcopy: a sparse image in and out over several connections, holes kept', async () => {
  const image = join(server.dir, 'image');
  const back = join(server.dir, 'back');
  await writeRandomFile(join(server.dir, 'noise'), 8 * MIB, 2);
  await writeFile(image, '');
  await truncate(image, 64 * MIB);
  const noise = await readFile(join(server.dir, 'noise'));
  const file = await open(image, 'r+');
  await file.write(noise, 0, 3 * MIB, 5 * MIB);
  await file.write(noise, 3 * MIB, 300_000, 40 * MIB + 12_345);
  await file.close();
  await runCommand('nbdcopy', ['--connections=4', '--threads=4', '--flush', image, server.uri]);
  await server.kill9();
  await server.restart();
  await runCommand('nbdcopy', ['--connections=4', server.uri, back]);
  await expectSameFiles(image, back);
  const used = (await server.status()).volumes.find(({ name }) => name === 'disk')!.used;
  assert.ok(used >= 3 * MIB && used <= 4 * MIB, `holes take no space: ${used} bytes used`);
});

test('qemu-img: convert in and out, compare finds no difference', async () => {
  const image = join(server.dir, 'image.qcow2');
  const raw = join(server.dir, 'image');
  await writeRandomFile(raw, 6 * MIB, 3);
  await truncate(raw, 64 * MIB);
  await runCommand('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
  await runCommand('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', image, server.uri]);
  await server.kill9();
  await server.restart();
  await runCommand('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, server.uri]);
  const back = join(server.dir, 'back.qcow2');
  await runCommand('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', server.uri, back]);
  await runCommand('qemu-img', ['compare', image, back]);
});

test('qemu-io: patterns, zeroes, discards, before and after SIGKILL', async () => {
  const write = [
    'write -P 0x11 0 1M',
    'write -P 0x22 1M 64k',
    'write -z 64k 64k',
    'write -f -P 0x33 2M 4k',
    'aio_write -P 0x44 3M 2M',
    'aio_flush',
    'write -P 0x55 6M 1536',
    'discard 512k 128k',
    'flush',
  ];
  const read = [
    'read -P 0x11 0 64k',
    'read -P 0x00 64k 64k',
    'read -P 0x11 128k 384k',
    'read -P 0x00 512k 128k',
    'read -P 0x22 1M 64k',
    'read -P 0x33 2M 4k',
    'read -P 0x44 3M 2M',
    'read -P 0x55 6M 1536',
    'read -P 0x00 6293k 3072k',
  ];
  const qemuIo = async (commands: readonly string[]): Promise<void> => {
    const args = ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), server.uri];
    const said = await runCommand('qemu-io', args);
    assert.doesNotMatch(said, /verification failed|error/i);
  };
  await qemuIo([...write, ...read]);
  await server.kill9();
  await server.restart();
  await qemuIo(read);
});

test('fio: random writes of mixed sizes at depth 32, verified again after SIGKILL', async () => {
  const job = [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${server.uri}`,
    '--rw=randwrite',
    '--bsrange=4k-256k',
    '--iodepth=32',
    '--size=64M',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--randseed=42',
    '--output-format=json',
  ];
  const fio = async (more: readonly string[]) => {
    const said = await runCommand('fio', [...job, ...more], { cwd: server.dir });
    return JSON.parse(said.slice(said.indexOf('{'))).jobs[0];
  };
  assert.equal((await fio(['--do_verify=0', '--end_fsync=1'])).error, 0);
  await nbdsh(server.uri, ['h.flush()']);
  await server.kill9();
  await server.restart();
  const verified = await fio(['--verify_only']);
  assert.equal(verified.error, 0);
});

for (const fs of ['ext4', 'xfs'] as const) {
  test(`${fs}: mkfs, files, fstrim, remount, fsck`, async () => {
    const device = await attachVolume({ uri: server.uriOf('big'), dir: server.dir });
    const point = join(server.dir, 'mnt');
    try {
      await runCommand(`mkfs.${fs}`, ['-q', device.path]);
      await exerciseFileSystem(device.path, point);
      const fsck = fs === 'ext4' ? ['e2fsck', '-f', '-n'] : ['xfs_repair', '-n'];
      await runCommand(fsck[0]!, [...fsck.slice(1), device.path]);
    } finally {
      // Here and not in a hook: the server must be there until the device is gone.
      await device.detach();
    }
  });
}

async function exerciseFileSystem(device: string, point: string): Promise<void> {
  const source = join(server.dir, 'source');
  await writeRandomFile(source, 32 * MIB, 4);
  await mkdir(point);
  await whileMounted(device, point, async () => {
    await cp(source, join(point, 'data'));
    await mkdir(join(point, 'many'));
    for (let i = 0; i < 200; i++) await writeFile(join(point, 'many', String(i)), `file ${i}`);
  });
  const usedBefore = await usedByBig();
  await whileMounted(device, point, async () => {
    await expectSameFiles(source, join(point, 'data'));
    assert.equal((await readdir(join(point, 'many'))).length, 200);
    assert.equal(await readFile(join(point, 'many', '77'), 'utf8'), 'file 77');
    await rm(join(point, 'data'));
    // What was removed is free, and trimmed, once the file system's journal says so.
    await runCommand('sync', ['--file-system', point]);
    await runCommand('fstrim', [point]);
  });
  const freed = usedBefore - (await usedByBig());
  assert.ok(freed > 30 * MIB, `fstrim gave back the space of the file: ${freed} bytes`);
}

async function whileMounted(
  device: string,
  point: string,
  work: () => Promise<void>,
): Promise<void> {
  await runCommand('mount', [device, point]);
  try {
    await work();
  } finally {
    await runCommand('umount', [point]);
  }
}

async function usedByBig(): Promise<number> {
  return (await server.status()).volumes.find(({ name }) => name === 'big')!.used;
}

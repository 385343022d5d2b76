// What leaves the machine says nothing, and what comes back altered is an I/O error or a refusal:
// with the real server on a directory.

import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { nbdsh, runCommand } from '../support/command.ts';
import { startServer, type TestServer } from '../support/server.ts';

const MIB = 1024 * 1024;
const MARKER = 'Marker-that-must-stay-inside';
const VOLUME = 'unspeakable-volume-name';

async function filesBelow(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true });
  const found: string[] = [];
  for (const name of names.toSorted()) {
    if ((await stat(join(folder, name))).isFile()) found.push(name);
  }
  return found;
}

/** Names of files that contain the text, in their content or in their name. */
async function grep(folder: string, text: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of await filesBelow(folder)) {
    const bytes = await readFile(join(folder, name));
    if (bytes.includes(text) || name.includes(text)) found.push(name);
  }
  return found;
}

for (const cipher of ['chacha20-poly1305', 'aes-256-gcm']) {
  for (const compression of ['none', 'lz4']) {
    test(`${cipher}, ${compression}: neither data nor names appear in the store`, async () => {
      const init = ['--cipher', cipher, '--compression', compression];
      const server = await startServer({ init, volumes: { [VOLUME]: '16M' } });
      try {
        const write = `h.pwrite((b"${MARKER} " * 200)[:4096], i * 65536)`;
        await nbdsh(server.uriOf(VOLUME), [`for i in range(64): ${write}`, 'h.flush()']);
        // Stopping writes tables and a manifest beside the log.
        assert.equal((await server.stop()).code, 0);
        const kinds = ['log', 'tables', 'manifest'].map((kind) => `/${kind}/`);
        const names = await filesBelow(server.storeDir);
        for (const kind of kinds)
          assert.ok(
            names.some((name) => name.includes(kind)),
            kind,
          );
        for (const folder of [server.storeDir, server.stateDir]) {
          for (const text of [MARKER, MARKER.slice(0, 10), VOLUME, 'correct horse']) {
            assert.deepEqual(await grep(folder, text), [], text);
          }
        }
        await writeFile(join(server.storeDir, 'planted'), `…${MARKER}…`);
        assert.deepEqual(await grep(server.storeDir, MARKER), ['planted'], 'the search works');
        await rm(join(server.storeDir, 'planted'));
        await server.restart();
        const check = `assert h.pread(4096, 65536) == (b"${MARKER} " * 200)[:4096]`;
        await nbdsh(server.uriOf(VOLUME), [check]);
      } finally {
        await server.remove();
      }
    });
  }
}

async function flip(folder: string, name: string, at: number): Promise<void> {
  const path = join(folder, name);
  const bytes = await readFile(path);
  bytes[at < 0 ? bytes.length + at : at]! ^= 0x10;
  await writeFile(path, bytes);
}

/** Restores the store, alters one byte, and shows how serving it ends. */
async function exitCodeAfterFlip(server: TestServer, name: string, at: number): Promise<number> {
  await rm(server.storeDir, { recursive: true });
  await cp(join(server.dir, 'pristine'), server.storeDir, { recursive: true });
  await flip(server.storeDir, name, at);
  const { code, stderr } = await server.serveToEnd([]);
  assert.match(stderr, /^varve: [^\n]+\n$/m, 'it says why');
  return code ?? -1;
}

test('a damaged root, log or table: the server refuses, and the exit code says so', async () => {
  const server = await startServer();
  try {
    await nbdsh(server.uri, ['import os', 'h.pwrite(os.urandom(1 << 20), 0)', 'h.flush()']);
    assert.equal((await server.stop()).code, 0);
    await server.restart();
    await nbdsh(server.uri, ['import os', 'h.pwrite(os.urandom(1 << 20), 0)', 'h.flush()']);
    // Killed: the last commit is in the log alone, and its end is read at the next start.
    await server.kill9();
    await cp(server.storeDir, join(server.dir, 'pristine'), { recursive: true });
    const names = await filesBelow(server.storeDir);
    const newest = (kind: string): string =>
      names.filter((name) => name.includes(`/${kind}/`)).at(-1)!;
    const key = names.find((name) => name.startsWith('keys/'))!;
    const index = names.find((name) => name.includes('/index/'))!;
    const cases: readonly (readonly [name: string, at: number, codes: readonly number[]])[] = [
      ['format.json', 40, [5]],
      [key, -1, [4, 5]],
      [key, 30, [4, 5]],
      [index, -20, [5]],
      [newest('manifest'), -5, [5]],
      [newest('log'), -30, [5]],
      [newest('log'), -100, [5]],
      [newest('tables'), -3, [5]],
      [newest('tables'), 10, [5]],
    ];
    for (const [name, at, codes] of cases) {
      const code = await exitCodeAfterFlip(server, name, at);
      assert.ok(
        codes.includes(code),
        `${name} at ${at}: exit ${code}, expected ${codes.join(' or ')}`,
      );
    }
  } finally {
    await server.remove();
  }
});

test('a damaged frame: EIO for what lies in it, the right bytes for all else', async () => {
  const server = await startServer();
  try {
    await nbdsh(server.uri, ['h.pwrite(bytes(range(256)) * 4096, 0)', 'h.flush()']);
    await nbdsh(server.uri, ['import os', 'h.pwrite(os.urandom(4 << 20), 8 << 20)', 'h.flush()']);
    assert.equal((await server.stop()).code, 0);
    const sizes: (readonly [string, number])[] = [];
    for (const name of await filesBelow(server.storeDir)) {
      sizes.push([name, (await stat(join(server.storeDir, name))).size]);
    }
    const [largest] = sizes.toSorted((a, b) => b[1] - a[1])[0]!;
    await flip(server.storeDir, largest, 2 * MIB + 100);
    await server.restart();
    await nbdsh(server.uri, [
      'failed = 0',
      'for at in range(8 << 20, 12 << 20, 4096):',
      '    try: h.pread(4096, at)',
      '    except nbd.Error as e:',
      '        assert e.errno == "EIO", e.errno',
      '        failed += 1',
      'assert 1 <= failed <= 16, failed',
      'assert h.pread(1 << 20, 0) == bytes(range(256)) * 4096',
    ]);
    await assert.rejects(runCommand('nbdcopy', [server.uri, 'null:']), /Input\/output error/);
    assert.equal((await server.stop()).code, 0);
  } finally {
    await server.remove();
  }
});

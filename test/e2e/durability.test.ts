// What a FLUSH acknowledged is there after SIGKILL: on a directory and on a real S3 server.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openGateway } from '../support/gateway.ts';
import { nbdsh, runCommand } from '../support/command.ts';
import { expectSameFiles, writeRandomFile } from '../support/random-file.ts';
import { type ServerOptions, startServer } from '../support/server.ts';

const MIB = 1024 * 1024;
const BYTES = process.env['VARVE_E2E_LARGE'] === '1' ? 1024 * MIB : 256 * MIB;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'varve-e2e-'));
  await writeRandomFile(join(folder, 'source'), BYTES, 1);
});
after(() => rm(folder, { recursive: true, force: true }));

/** Copies in, flushes, kills the server at once, starts it again, copies out, compares. */
async function copyKillCompare(options: ServerOptions): Promise<void> {
  const server = await startServer({ volumes: { disk: `${BYTES}` }, ...options });
  try {
    const source = join(folder, 'source');
    const back = join(folder, 'back');
    await runCommand('nbdcopy', ['--flush', '--connections=2', source, server.uri]);
    await server.kill9();
    await server.restart();
    await runCommand('nbdcopy', [server.uri, back]);
    await expectSameFiles(source, back);
    await rm(back);
  } finally {
    await server.remove();
  }
}

test('directory store: nbdcopy, FLUSH, SIGKILL: every byte is there', () => copyKillCompare({}));

test('directory store: single FUA writes survive SIGKILL, one after another', async () => {
  const server = await startServer();
  try {
    for (let round = 1; round <= 3; round++) {
      const offset = round * 12_288;
      await nbdsh(server.uri, [
        `h.pwrite(b"${round}" * 4096, ${offset}, nbd.CMD_FLAG_FUA)`,
        `import os, signal; os.kill(${server.pid}, signal.SIGKILL)`,
      ]);
      await server.ended;
      await server.restart();
      const checks = Array.from(
        { length: round },
        (_, i) => `assert h.pread(4096, ${(i + 1) * 12_288}) == b"${i + 1}" * 4096`,
      );
      await nbdsh(server.uri, checks);
    }
  } finally {
    await server.remove();
  }
});

test('Ceph RGW: nbdcopy, FLUSH, SIGKILL: every byte is there', async (t) => {
  const gateway = await openGateway();
  t.after(() => gateway.stop());
  await copyKillCompare(gateway.serverOptions('durability'));
});

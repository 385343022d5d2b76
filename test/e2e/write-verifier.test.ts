// RFC 0005, by clients of libnbd: an export name with the server's write verifier leads to the next
// server behind a clean end, and nowhere behind a crash.

import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { upgradeReport } from '../../src/server/http/report.ts';
import { nbdsh, runCommand } from '../support/command.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startServer();
});
afterEach(() => server.remove());

/** `disk/VERIFIER`, as the server names its volume `disk`. */
async function canonicalName(): Promise<string> {
  const said = await runCommand('nbdinfo', ['--json', server.uriOf('disk/')]);
  const name: string = JSON.parse(said).exports[0]['export-name'];
  assert.match(name, /^disk\/[0-9a-f]{16}$/);
  return name;
}

async function size(exportName: string): Promise<number> {
  return Number(await runCommand('nbdinfo', ['--size', server.uriOf(exportName)]));
}

/** libnbd does not pass on what the server says; verified-exports.test.ts knows it. */
async function assertRefused(exportName: string): Promise<void> {
  await assert.rejects(size(exportName), /server policy prevents/);
  assert.ok((await size('disk')) > 0, 'the volume is there');
}

test('a clean end and an upgrade keep the verifier, a crash does not', async () => {
  const first = await canonicalName();
  assert.equal(await size(first), await size('disk'));
  await nbdsh(server.uriOf(first), ['h.pwrite(b"x" * 4096, 0)']);
  await server.stop();
  await server.restart();
  assert.equal(await canonicalName(), first);
  assert.equal(await size(first), await size('disk'));
  await server.kill9();
  await server.restart();
  const second = await canonicalName();
  assert.notEqual(second, first);
  await assertRefused(first);
  assert.ok((await size(second)) > 0);
  // It was taken up once: the crash that follows makes it void, however clean the end before was.
  await server.stop();
  await server.restart();
  await server.kill9();
  await server.restart();
  await assertRefused(second);
});

test('an upgrade keeps the verifier, and a crash of the new process does not', async () => {
  const name = await canonicalName();
  const { pid } = upgradeReport.parse(JSON.parse(await server.command('upgrade', '--json')));
  try {
    assert.equal(await canonicalName(), name);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
  await server.ended;
  await server.restart();
  await assertRefused(name);
});

test('another writer in between makes the verifier void', async () => {
  const name = await canonicalName();
  await server.stop();
  const own = join(server.dir, 'own-state');
  await cp(server.stateDir, own, { recursive: true });
  await rm(server.stateDir, { recursive: true });
  await server.restart();
  assert.notEqual(await canonicalName(), name, 'the state directory was new');
  await server.stop();
  await rm(server.stateDir, { recursive: true });
  await cp(own, server.stateDir, { recursive: true });
  await server.restart();
  await assertRefused(name);
});

test('a name that no volume has is refused as such', async () => {
  await assert.rejects(size('other/0123456789abcdef'), /other/);
  await assertRefused('disk/x/y');
});

// A store on disk through the command line: init, serve, volumes, status, signals, exit codes.

import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { statusReport } from '../../src/server/http/report.ts';
import { createVarveBox, type VarveBox } from '../support/varve-process.ts';

const STORE = ['--store', 'file:store'];
const SERVE = [...STORE, '--nbd', 'unix:nbd.sock', '--volume', 'disk=64M'];

let box: VarveBox;
beforeEach(async () => {
  box = await createVarveBox();
});
afterEach(() => box.remove());

async function initStore(): Promise<void> {
  const { code, stderr } = await box.run(['init', ...STORE]);
  assert.equal(code, 0, stderr);
}

test('init makes a store once', async () => {
  await initStore();
  const again = await box.run(['init', ...STORE]);
  assert.equal(again.code, 1);
  assert.match(
    again.stderr,
    /^(varve: creating the store, \d+ s\n)*varve: there is a store already[^\n]+\n$/,
  );
});

test('volumes come, grow and go while the server runs, and outlive it', async () => {
  await initStore();
  const server = await box.serve(SERVE);
  assert.match(server.ready, /^ready nbd=nbd\+unix:\/\/\/\?socket=\S*nbd\.sock\n$/);

  assert.equal((await box.run(['volume', 'create', 'two', '8M'])).code, 0);
  assert.equal((await box.run(['volume', 'create', 'two', '8M'])).code, 1, 'it exists');
  assert.equal((await box.run(['volume', 'resize', 'two', '16M'])).code, 0);
  assert.equal(
    (await box.run(['volume', 'resize', 'two', '4M'])).code,
    2,
    'shrinking needs --force',
  );
  assert.equal((await box.run(['volume', 'resize', 'two', '4M', '--force'])).code, 0);
  assert.equal((await box.run(['volume', 'delete', 'none'])).code, 1);
  const list = await box.run(['volume', 'list']);
  assert.match(list.stdout, /^NAME +SIZE +USED/);
  assert.match(list.stdout, /\ndisk +64 MiB/);
  assert.equal((await box.run(['flush'])).code, 0);

  const json = await box.run(['status', '--json']);
  const report = statusReport.parse(JSON.parse(json.stdout));
  const sizes = new Map(report.volumes.map(({ name, size }) => [name, size]));
  assert.deepEqual(
    sizes,
    new Map([
      ['disk', 64 * 2 ** 20],
      ['two', 4 * 2 ** 20],
    ]),
  );
  assert.equal(report.branch, 'main');
  assert.equal(report.lagBytes, 0, 'after a flush the store has it all');
  assert.ok(report.store.put > 0 && report.store.bytesUp > 0);
  assert.match((await box.run(['status'])).stdout, /\bdurability +store\n/);

  const stopped = await server.stop('SIGTERM');
  assert.equal(stopped.code, 0, stopped.stderr);
  assert.equal(stopped.stdout.split('\n').length, 2, 'stdout has the ready line and nothing else');
  const left = await readdir(join(box.dir, 'varve-state'));
  assert.deepEqual(left, ['seen.json'], 'no lock, no socket left');

  const second = await box.serve(SERVE);
  assert.match((await box.run(['volume', 'list'])).stdout, /\ntwo +4 MiB/);
  assert.equal((await second.stop('SIGINT')).code, 0);
});

test('a wrong passphrase exits 4, and so early that nothing listens', async () => {
  await initStore();
  const { code, stderr } = await box.run(['serve', ...SERVE], { VARVE_PASSPHRASE: 'wrong' });
  assert.equal(code, 4, stderr);
  assert.match(stderr, /varve: [^\n]*passphrase/);
});

test('a store that was altered exits 5', async () => {
  await initStore();
  await (await box.serve(SERVE)).stop();
  const store = join(box.dir, 'store');
  const names = await readdir(store, { recursive: true });
  const manifests = names.filter((name) => name.includes('/manifest/'));
  assert.ok(manifests.length > 0);
  for (const name of manifests) {
    const path = join(store, name);
    if (!(await stat(path)).isFile()) continue;
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
  }
  const { code, stderr } = await box.run(['serve', ...SERVE]);
  assert.equal(code, 5, stderr);
});

test('one state directory serves one daemon', async () => {
  await initStore();
  const server = await box.serve(SERVE);
  const { code, stderr } = await box.run(['serve', ...SERVE]);
  assert.equal(code, 1);
  assert.match(stderr, /the state directory .* is in use by another varve \(pid \d+\)/);
  assert.equal((await server.stop()).code, 0);
});

test('a server that is killed leaves nothing that keeps the next one from starting', async () => {
  await initStore();
  await (await box.serve(SERVE)).stop('SIGKILL');
  const next = await box.serve(SERVE);
  assert.equal((await box.run(['status'])).code, 0);
  assert.equal((await next.stop()).code, 0);
});

test('a second writer takes over, the first exits 3', async () => {
  await initStore();
  const first = await box.serve(SERVE);
  const second = await box.serve([...STORE, '--nbd', 'unix:other.sock', '--state', 'other']);
  // What the deposed writer tries to make durable next tells it.
  await box.run(['volume', 'create', 'late', '4M']);
  const ended = await first.stop('SIGCONT');
  assert.equal(ended.code, 3, ended.stderr);
  assert.equal((await second.stop()).code, 0);
});

test('a taken port is named, with what to do', async () => {
  await initStore();
  const server = await box.serve([...STORE, '--nbd', '127.0.0.1:0']);
  const port = /nbd:\/\/127\.0\.0\.1:(\d+)/.exec(server.ready)?.[1];
  assert.ok(port !== undefined && port !== '0', server.ready);
  const args = [...STORE, '--nbd', `127.0.0.1:${port}`, '--state', 'other'];
  const { code, stderr } = await box.run(['serve', ...args]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
  await server.stop();
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isStorageError, StorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { type AdminServer, createAdminServer } from './admin.ts';
import { createAdminClient } from './client.ts';
import { STATUS_OF_KIND } from './routes.ts';
import { fakeService, STATUS } from './testing.ts';

let dir = '';
let path = '';
let service = fakeService();
let server: AdminServer | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'varve-admin-'));
  path = join(dir, 'admin.sock');
  service = fakeService();
  server = await createAdminServer({ service, log: silentLog }, path);
});
afterEach(async () => {
  await server?.close();
  await rm(dir, { recursive: true });
});

function raw(
  method: string,
  url: string,
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: path, method, path: url, agent: false }, (response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test('only its owner may open the socket', async () => {
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('the client gets what the service says', async () => {
  const client = createAdminClient(path);
  assert.deepEqual(await client.status(), STATUS);
  await client.flush();
  const odd = 'a/b c?%ü';
  assert.equal((await client.createVolume(odd, 4096)).name, odd);
  assert.deepEqual(
    (await client.listVolumes()).map((one) => one.name),
    [odd],
  );
  await client.resizeVolume(odd, 8192, true);
  await client.removeVolume(odd);
  assert.deepEqual(await client.listVolumes(), []);
  assert.deepEqual(service.asked, ['flush', `resize ${odd} 8192 true`]);
});

test('snapshots and branches: names and answers arrive as they are', async () => {
  const client = createAdminClient(path);
  const odd = 'a/b c?%ü';
  assert.deepEqual(await client.createSnapshot(odd), { name: odd, createdUnixMs: 5 });
  const [snapshot] = await client.listSnapshots();
  assert.deepEqual([snapshot?.ownBytes, snapshot?.branches], [1, ['b']]);
  assert.equal((await client.createBranch(odd, undefined)).parent, 'main');
  assert.equal((await client.createBranch('c', odd)).name, 'c');
  assert.equal((await client.listBranches()).length, 1);
  await client.restore(odd);
  await client.deleteBranch(odd);
  await client.deleteSnapshot(odd);
  assert.deepEqual(service.asked, [
    `branch ${odd} from undefined`,
    `branch c from ${odd}`,
    `restore ${odd}`,
    `delete branch ${odd}`,
    `delete snapshot ${odd}`,
  ]);
});

test('every kind of error has its status and comes back as it was', async () => {
  const client = createAdminClient(path);
  for (const [kind, status] of Object.entries(STATUS_OF_KIND)) {
    service.fail = new StorageError(kind as keyof typeof STATUS_OF_KIND, `it is ${kind}`);
    const reply = await raw('POST', '/flush');
    assert.equal(reply.status, status, kind);
    assert.deepEqual(JSON.parse(reply.text), { error: { kind, message: `it is ${kind}` } });
    await assert.rejects(
      () => client.flush(),
      (error) => isStorageError(error) && error.kind === kind && error.message === `it is ${kind}`,
    );
  }
});

test('a bug in the service is an error for the client, and the server goes on', async () => {
  service.fail = new TypeError('undefined is not a function');
  const reply = await raw('POST', '/flush');
  assert.equal(reply.status, 503);
  assert.match(reply.text, /internal error/);
  service.fail = undefined;
  assert.equal((await raw('POST', '/flush')).status, 200);
});

test('bad requests are refused with a reason', async () => {
  const cases: [string, string, string | undefined, number, RegExp][] = [
    ['GET', '/nothing', undefined, 404, /no GET \/nothing/],
    ['PUT', '/flush', undefined, 404, /no PUT/],
    ['POST', '/volumes', '{"name":"x"', 400, /not JSON/],
    ['POST', '/volumes', '{"name":"x"}', 400, /sizeBytes/],
    ['POST', '/volumes', '{"name":"x","sizeBytes":-1}', 400, /sizeBytes/],
    ['POST', '/volumes', '{"name":"x","sizeBytes":1.5}', 400, /sizeBytes/],
    ['POST', '/volumes', '{"name":"x","sizeBytes":1,"more":1}', 400, /more/],
    ['POST', '/volumes', undefined, 400, /the body/],
    ['POST', '/snapshots', '{"name":1}', 400, /name/],
    ['POST', '/branches', '{"name":"x","base":"y"}', 400, /base/],
    ['POST', '/snapshots/NAME', undefined, 404, /no POST/],
    ['DELETE', '/volumes/%ff', undefined, 400, /percent/],
    ['POST', '/volumes', `"${'x'.repeat(70_000)}"`, 400, /longer than/],
  ];
  for (const [method, url, body, status, reason] of cases) {
    const reply = await raw(method, url, body);
    assert.equal(reply.status, status, `${method} ${url} ${body?.slice(0, 40)}`);
    assert.match(reply.text, reason);
  }
});

test('a socket left by a dead server is replaced, one in use and other files are not', async () => {
  await assert.rejects(
    () => createAdminServer({ service, log: silentLog }, path),
    (error) => isStorageError(error, 'exists'),
  );
  assert.deepEqual(await createAdminClient(path).status(), STATUS, 'the first one still answers');
  const plain = join(dir, 'plain');
  await writeFile(plain, 'precious');
  const onPlain = createAdminServer({ service, log: silentLog }, plain);
  // One that was started by mistake must not keep the test from ending.
  const started = await onPlain.catch((error: unknown) => error);
  if (!isStorageError(started)) await (started as AdminServer).close();
  assert.ok(isStorageError(started, 'invalid'), 'a plain file is not replaced');
  assert.equal((await stat(plain)).size, 8);
});

test('without a server the client says what to do', async () => {
  await server?.close();
  server = undefined;
  await assert.rejects(
    () => createAdminClient(path).status(),
    (error) =>
      isStorageError(error, 'unavailable') && /no server runs at .*varve serve/.test(error.message),
  );
});

test('something else on the socket is not taken for a server', async () => {
  const other = join(dir, 'other.sock');
  const stranger = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nhello'));
  await new Promise<void>((resolve) => void stranger.listen(other, resolve));
  await assert.rejects(() => createAdminClient(other).status(), /no varve server/);
  stranger.close();
});

test('closing does not wait for idle connections', async () => {
  const idle = connect({ path });
  await new Promise((resolve) => void idle.once('connect', resolve));
  idle.write('GET /status HTTP/1.1\r\nhost: x\r\n\r\n');
  await new Promise((resolve) => void idle.once('data', resolve));
  await server?.close();
  server = undefined;
  await assert.rejects(() => stat(path), /ENOENT/);
});

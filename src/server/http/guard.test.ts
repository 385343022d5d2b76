import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { createGuard, readToken } from './guard.ts';

const TOKEN = 'a-token-of-25-characters!';
const open = createGuard(undefined);
const closed = createGuard(TOKEN);
const status = (guard: typeof open, headers: IncomingHttpHeaders): number =>
  guard({ headers })?.status ?? 200;

test('without a token a request must name this machine', () => {
  for (const host of ['localhost', 'LOCALHOST:8080', '127.0.0.1:1', '[::1]:1', '[::1]']) {
    assert.equal(status(open, { host }), 200, host);
  }
  for (const host of ['evil.example', 'localhost.evil.example:80', '10.0.0.1', '']) {
    assert.equal(status(open, { host }), 403, host);
  }
  assert.equal(status(open, {}), 403);
});

test('pages of other sites may not ask, with and without a token', () => {
  const host = 'localhost:1';
  const authorization = `Bearer ${TOKEN}`;
  const cases: [IncomingHttpHeaders, number][] = [
    [{ origin: 'http://localhost:1' }, 200],
    [{ origin: 'http://localhost:2' }, 403],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'same-origin' }, 200],
    [{ 'sec-fetch-site': 'none' }, 200],
  ];
  for (const [headers, expected] of cases) {
    assert.equal(status(open, { host, ...headers }), expected, JSON.stringify(headers));
    assert.equal(status(closed, { host, authorization, ...headers }), expected);
  }
});

test('with a token nothing else opens, whatever the name', () => {
  const host = 'varve.example';
  assert.equal(status(closed, { host, authorization: `bearer  ${TOKEN}` }), 200);
  for (const authorization of [TOKEN, `Bearer ${TOKEN}x`, 'Bearer x', `Basic ${TOKEN}`, '']) {
    assert.equal(status(closed, { host, authorization }), 401, authorization);
  }
  assert.equal(status(closed, { host: 'localhost' }), 401);
});

test('a token is long, and its file for one person', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'varve-token-'));
  const path = join(dir, 'token');
  const warned: string[] = [];
  const read = (): Promise<string> => readToken(path, (file) => void warned.push(file));
  await assert.rejects(read, (error) => isStorageError(error, 'invalid'));
  await writeFile(path, `${TOKEN}\n`, { mode: 0o600 });
  assert.equal(await read(), TOKEN);
  assert.deepEqual(warned, []);
  await chmod(path, 0o644);
  await read();
  assert.deepEqual(warned, [path]);
  await writeFile(path, 'secret-short\n');
  await assert.rejects(read, (error: Error) => !error.message.includes('secret-short'));
  await rm(dir, { recursive: true });
});

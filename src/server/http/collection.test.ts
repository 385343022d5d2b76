// What a long request tells on its way, over a real socket.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isStorageError, StorageError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { type AdminServer, createAdminServer } from './admin.ts';
import { createAdminClient } from './client.ts';
import type { CollectReport, OnProgress } from './report.ts';
import { COLLECTED, fakeService, STATUS } from './testing.ts';

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

interface Held {
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
  readonly end: PromiseWithResolvers<CollectReport>;
}

/** A collection that goes on until the test ends it; like the real one it obeys the signal. */
function holdCollection(): Promise<Held> {
  return new Promise((resolve) => {
    service.onCollect = (onProgress, signal) => {
      const end = Promise.withResolvers<CollectReport>();
      signal.addEventListener('abort', () => end.reject(signal.reason));
      resolve({ onProgress, signal, end });
      return end.promise;
    };
  });
}

/** Sends the request and reads nothing of the reply. */
function ask(): { readonly sent: ClientRequest; readonly response: Promise<IncomingMessage> } {
  const sent = request({ socketPath: path, method: 'POST', path: '/collection', agent: false });
  sent.on('error', () => {});
  const response = new Promise<IncomingMessage>((resolve) => void sent.once('response', resolve));
  sent.end();
  return { sent, response };
}

test('progress comes in order, before the answer', async () => {
  const beginning = holdCollection();
  const told: string[] = [];
  const { promise: second, resolve: onSecond } = Promise.withResolvers<void>();
  const collecting = createAdminClient(path).collect((what, done, total) => {
    told.push(`${what} ${done}/${total}`);
    if (told.length === 2) onSecond();
  });
  const { onProgress, end } = await beginning;
  onProgress('merging', 0, 0);
  onProgress('listing', 7, 9);
  // Told while it goes on, not with the answer.
  await second;
  end.resolve(COLLECTED);
  assert.deepEqual(await collecting, COLLECTED);
  assert.deepEqual(told, ['merging 0/0', 'listing 7/9']);
});

test('a collection without news is an answer like any other', async () => {
  const collected = await createAdminClient(path).collect(() => assert.fail('no news'));
  assert.deepEqual(collected, COLLECTED);
});

test('an error keeps its kind, before the first news and after', async () => {
  for (const news of [0, 3]) {
    service.onCollect = async (onProgress) => {
      for (let i = 0; i < news; i++) onProgress('listing', i, 0);
      throw new StorageError('fenced', 'another writer');
    };
    await assert.rejects(
      createAdminClient(path).collect(() => {}),
      (error) => isStorageError(error, 'fenced') && error.message === 'another writer',
    );
  }
});

test('a client that goes away ends its call, and the server answers the next', async () => {
  const beginning = holdCollection();
  const { sent, response } = ask();
  const { onProgress, signal, end } = await beginning;
  onProgress('listing', 1, 0);
  await response;
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  sent.destroy();
  await aborted;
  for (let i = 0; i < 1000; i++) onProgress('listing', i, 0);
  end.resolve(COLLECTED);
  assert.deepEqual(await createAdminClient(path).status(), STATUS);
});

test('closing does not wait for a collection: its client is told', async () => {
  const beginning = holdCollection();
  const collecting = createAdminClient(path).collect(() => {});
  await beginning;
  await Promise.all([
    server!.close(),
    assert.rejects(
      collecting,
      (error) => isStorageError(error, 'aborted') && /stopping/.test(error.message),
    ),
  ]);
  server = undefined;
});

test('news that nobody reads are dropped, the answer is not', async () => {
  const beginning = holdCollection();
  const { response } = ask();
  const { onProgress, end } = await beginning;
  const lines = 20_000;
  const what = 'x'.repeat(1000);
  for (let i = 0; i < lines; i++) onProgress(what, i, 0);
  end.resolve(COLLECTED);
  let text = '';
  for await (const part of (await response).setEncoding('utf8')) text += part;
  const received = text.trimEnd().split('\n');
  assert.deepEqual(JSON.parse(received.at(-1)!), COLLECTED);
  assert.ok(received.length < lines / 10, `${received.length} of ${lines} lines were kept`);
});

// The admin routes without their socket: u8 method │ path, a newline, the body.

import { StorageError } from '../../src/base/errors.ts';
import { findRoute } from '../../src/server/http/routes.ts';
import { fakeService } from '../../src/server/http/testing.ts';
import { expect, type Target } from '../target.ts';

const METHODS = ['GET', 'POST', 'DELETE', 'PUT', 'HEAD', ''];

const ASKED: readonly (readonly [method: string, path: string, body?: unknown])[] = [
  ['GET', '/status'],
  ['POST', '/flush'],
  ['GET', '/volumes'],
  ['POST', '/volumes', { name: 'disk', sizeBytes: 4096 }],
  ['POST', '/volumes/d%C3%BC/resize', { sizeBytes: 8192, force: true }],
  ['DELETE', '/volumes/disk?x=1'],
  ['GET', '/snapshots'],
  ['POST', '/snapshots', { name: 's' }],
  ['DELETE', '/snapshots/s'],
  ['POST', '/snapshots/s/restore'],
  ['GET', '/branches'],
  ['POST', '/branches', { name: 'b', from: 's' }],
  ['DELETE', '/branches/b'],
  ['POST', '/collection'],
];

const WORDS = [
  '/volumes',
  '/snapshots',
  '/branches',
  '/collection',
  '/resize',
  '/restore',
  '/flush',
  '/',
  '//',
  '..',
  '%',
  '%2F',
  '%00',
  '%ff',
  '?',
  '"name":',
  '"sizeBytes":',
  '"force":true',
  '"from":',
  '{',
  '}',
  '[',
  ']',
  'null',
  '1e999',
  '-0',
  '"__proto__":',
  '"constructor":{',
  '9007199254740992',
  '\\ud800',
  '"',
  ',',
  '\n',
];

async function run(input: Uint8Array): Promise<void> {
  const method = METHODS[(input[0] ?? 0) % METHODS.length]!;
  const text = new TextDecoder().decode(input.subarray(1));
  const cut = text.indexOf('\n');
  const path = cut < 0 ? text : text.slice(0, cut);
  const { handle, name } = findRoute(method, path);
  expect(typeof name === 'string', 'a name is text');
  const service = fakeService();
  const body = bodyOf(cut < 0 ? '' : text.slice(cut + 1));
  const call = { name, body, onProgress: () => {}, signal: AbortSignal.abort() };
  const reply = await handle(service, call);
  expect(JSON.stringify(reply).length > 0, 'a reply is JSON');
  for (const volume of await service.listVolumes()) {
    const sound = Number.isSafeInteger(volume.sizeBytes) && volume.sizeBytes > 0;
    expect(sound && volume.name.length > 0, 'what reaches the service was checked');
  }
  expect(({} as Record<string, unknown>)['sizeBytes'] === undefined, 'prototypes stay clean');
}

/** As the admin server reads it. */
function bodyOf(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new StorageError('invalid', 'the body is not JSON', { cause });
  }
}

function seed([method, path, body]: (typeof ASKED)[number]): Uint8Array {
  const text = `${path}${body === undefined ? '' : `\n${JSON.stringify(body)}`}`;
  return Uint8Array.from([METHODS.indexOf(method), ...new TextEncoder().encode(text)]);
}

export const targets: readonly Target[] = [
  {
    name: 'admin-route',
    kinds: ['invalid', 'notFound'],
    seeds: () => ASKED.map(seed),
    words: WORDS,
    run,
  },
];

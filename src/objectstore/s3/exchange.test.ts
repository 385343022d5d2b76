// What one exchange makes of the lengths that a server announces.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dispatcher } from 'undici';
import { rejectsWith } from '../testing-store.ts';
import { exchange, type HttpRequest, type HttpResponse } from './exchange.ts';

const MIB = 1024 * 1024;

const REQUEST: HttpRequest = {
  method: 'GET',
  path: '/k',
  headers: {},
  body: [],
  responseBytesMax: 1024 * MIB,
  what: 'GET of k',
  lane: 'read',
  signal: undefined,
};

const controller = { abort: () => {} } as unknown as Dispatcher.DispatchController;

/** Announces a length, sends the parts, and ends. */
function answer(length: string, parts: readonly Buffer[]): Promise<HttpResponse> {
  const dispatcher = {
    dispatch(_options: unknown, handler: Dispatcher.DispatchHandler) {
      handler.onRequestStart?.(controller, {});
      handler.onResponseStart?.(controller, 200, { 'content-length': length });
      for (const part of parts) handler.onResponseData?.(controller, part);
      handler.onResponseEnd?.(controller, {});
      return true;
    },
  };
  return exchange(dispatcher, REQUEST, new AbortController().signal);
}

test('a body that is as long as announced comes whole, in memory of just that length', async () => {
  for (const mebibytes of [0, 1, 15, 17, 37]) {
    const parts = Array.from({ length: mebibytes }, (_, i) => Buffer.alloc(MIB, i));
    const { body } = await answer(String(mebibytes * MIB), parts);
    assert.ok(Buffer.concat(parts).equals(body), `${mebibytes} MiB`);
    assert.equal(body.buffer.byteLength, body.length);
  }
});

test('a length that lies takes little memory, and is unavailable', async () => {
  const before = process.memoryUsage().arrayBuffers;
  await rejectsWith(answer(String(1000 * MIB), [Buffer.alloc(4)]), 'unavailable');
  assert.ok(process.memoryUsage().arrayBuffers - before < 64 * MIB);
});

test('a length that is none is unavailable', async () => {
  for (const length of ['', '-6', '1e3', '0x10', '9007199254740992', String(1025 * MIB)]) {
    await rejectsWith(answer(length, []), 'unavailable');
  }
});

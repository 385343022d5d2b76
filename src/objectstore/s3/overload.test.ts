// A server that has too much to do: it says when to come back, or leaves requests hanging.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { bytesOf, rejectsWith } from '../testing-store.ts';
import type { RequestCause } from '../object-store.ts';
import { fail, type Handler, hang, reply, withServer } from './testing-server.ts';

const READ: readonly RequestCause[] = ['read', 'lookup', 'open', 'admin'];
const BACKGROUND: readonly RequestCause[] = ['flush', 'compaction', 'collection'];

function refusal(status: number, retryAfter: string): Handler {
  return reply(status, '<Error><Code>SlowDown</Code></Error>', { 'retry-after': retryAfter });
}

describe('Retry-After', () => {
  // The test's clock begins here.
  const nowMs = 1_700_000_000_000;
  const date = (afterMs: number): string => new Date(nowMs + afterMs).toUTCString();
  const table: readonly (readonly [string, number | undefined])[] = [
    ['0', 0],
    ['7', 7000],
    [' 120 ', 120_000],
    [date(90_000), 90_000],
    [date(-90_000), 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['-1', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['2030', 2_030_000],
    ['99999999999999999999', undefined],
    ['', undefined],
  ];
  for (const [header, afterMs] of table) {
    it(`of "${header}" is ${afterMs} ms`, async () => {
      for (const status of [429, 503]) {
        await withServer([refusal(status, header)], async ({ store }) => {
          await assert.rejects(
            store.get('k', undefined, { cause: 'read' }),
            (error) => isStorageError(error, 'unavailable') && error.retryAfterMs === afterMs,
          );
        });
      }
    });
  }

  it('is waited for', async () => {
    await withServer([refusal(503, '7'), reply(200, 'x')], async ({ retrying, clock }) => {
      await retrying.get('k', undefined, { cause: 'read' });
      assert.equal(Math.floor(clock.sleeps[0]! / 10) * 10, 7000);
    });
  });

  it('is unknown when the server says nothing', async () => {
    await withServer([fail(503, 'SlowDown')], async ({ store }) => {
      await assert.rejects(
        store.head('k', { cause: 'read' }),
        (error) => isStorageError(error, 'unavailable') && error.retryAfterMs === undefined,
      );
    });
  });
});

describe('requests that hang', () => {
  const hangsAt =
    (part: string): Handler =>
    (request, response, body) => {
      const isStuck = request.url?.includes(part) === true;
      (isStuck ? hang : reply(200, 'x'))(request, response, body);
    };

  it('leave connections to those of another lane', async () => {
    await withServer(
      [hangsAt('stuck')],
      async ({ store, clock, arrival }) => {
        const body = [bytesOf('x')];
        // One of each lane is on the wire, the others wait behind it.
        const uploads = [1, 2, 3].map((n) =>
          store.putIfAbsent(`stuck-${n}`, body, { cause: 'barrier' }),
        );
        const merges = BACKGROUND.map((cause) => store.get('stuck', undefined, { cause }));
        const all = Promise.allSettled([...uploads, ...merges]);
        await arrival(2);
        for (const cause of READ) await store.get('free', undefined, { cause });
        // What waited for a connection has it now, and hangs in its turn.
        for (const arrived of [4, 6]) {
          clock.advance(1000);
          await arrival(arrived + READ.length);
        }
        clock.advance(1000);
        for (const { status } of await all) assert.equal(status, 'rejected');
      },
      { connectionsMax: 1 },
    );
  });

  it('leave a barrier through when reads are stuck', async () => {
    await withServer(
      [hangsAt('stuck')],
      async ({ store, clock, arrival }) => {
        const stuck = store.get('stuck', undefined, { cause: 'read' });
        await arrival(1);
        await store.putIfAbsent('free', [bytesOf('x')], { cause: 'barrier' });
        await store.putIfAbsent('free', [bytesOf('x')], { cause: 'flush' });
        clock.advance(1000);
        await rejectsWith(stuck, 'unavailable');
      },
      { connectionsMax: 1 },
    );
  });
});

// The protocol's failure table: what the S3 store makes of each answer that is no success.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isStorageError, type StorageErrorKind } from '../../base/errors.ts';
import { bytesOf, listAll, rejectsWith } from '../testing-store.ts';
import { fail, reply, withServer } from './testing-server.ts';

const options = { cause: 'admin' } as const;

describe('errors by status and code', () => {
  const table: readonly (readonly [number, string, StorageErrorKind, boolean])[] = [
    [400, 'InvalidArgument', 'invalid', false],
    [400, 'AuthorizationHeaderMalformed', 'invalid', false],
    [400, 'RequestTimeout', 'unavailable', true],
    [400, 'BadDigest', 'unavailable', true],
    [400, 'XAmzContentSHA256Mismatch', 'unavailable', true],
    [400, 'IncompleteBody', 'unavailable', true],
    [301, 'PermanentRedirect', 'invalid', false],
    [403, 'AccessDenied', 'denied', false],
    [403, 'SignatureDoesNotMatch', 'denied', false],
    [403, 'RequestTimeTooSkewed', 'denied', false],
    [403, 'QuotaExceeded', 'noSpace', true],
    [401, 'Whatever', 'denied', false],
    [404, 'NoSuchKey', 'notFound', false],
    [404, 'NoSuchBucket', 'invalid', false],
    [405, 'MethodNotAllowed', 'invalid', false],
    [409, 'ConditionalRequestConflict', 'unavailable', true],
    [412, 'PreconditionFailed', 'exists', false],
    [416, 'InvalidRange', 'invalid', false],
    [429, 'TooManyRequests', 'unavailable', true],
    [500, 'InternalError', 'unavailable', true],
    [501, 'NotImplemented', 'invalid', false],
    [503, 'SlowDown', 'unavailable', true],
    [503, 'ServiceUnavailable', 'unavailable', true],
    [507, 'InsufficientStorage', 'noSpace', true],
  ];
  for (const [status, code, kind, retryable] of table) {
    it(`${status} ${code} is ${kind}${retryable ? ', to be tried again' : ''}`, async () => {
      await withServer([fail(status, code)], async ({ store, seen }) => {
        const range = { start: 0, end: 1 };
        for (const request of [
          () => store.putIfAbsent('k', [bytesOf('x')], options),
          () => store.get('k', range, options),
        ]) {
          await assert.rejects(
            request(),
            (error) => isStorageError(error, kind) && error.retryable === retryable,
          );
        }
        assert.equal(seen.length, 2);
      });
    });
  }

  it('go by the status when the body is no S3 error', async () => {
    for (const body of ['', '<html>no</html>', '<Error><Code>x', '<Error>&bad;<Code>&x;</Code>']) {
      await withServer([reply(502, body)], async ({ store }) => {
        await rejectsWith(store.get('k', undefined, options), 'unavailable');
      });
      await withServer([reply(404, body)], async ({ store }) => {
        await rejectsWith(store.get('k', undefined, options), 'notFound');
        await rejectsWith(listAll(store, ''), 'invalid');
        assert.equal(await store.head('k', options), undefined);
        await store.delete('k', options);
      });
    }
  });

  it('never take a redirect, a partial answer or an interim one for success', async () => {
    await withServer([reply(307, '')], async ({ store }) => {
      await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'unavailable');
    });
    const partial = reply(206, 'abc', { 'content-range': 'bytes 0-2/10' });
    await withServer([partial], async ({ store }) => {
      await rejectsWith(store.get('k', undefined, options), 'unavailable');
    });
  });
});

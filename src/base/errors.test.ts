import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, AssertionError, unreachable } from './assert.ts';
import { isStorageError, messageOf, StorageError } from './errors.ts';

test('only `unavailable` is retryable, unless the thrower knows better', () => {
  assert.equal(new StorageError('unavailable', 'busy').retryable, true);
  for (const kind of ['notFound', 'exists', 'invalid', 'corrupt', 'fenced', 'aborted'] as const) {
    assert.equal(new StorageError(kind, 'no').retryable, false, kind);
  }
  assert.equal(new StorageError('noSpace', 'full', { retryable: true }).retryable, true);
  assert.equal(new StorageError('unavailable', 'gone', { retryable: false }).retryable, false);
});

test('a storage error carries its kind, its message and its cause', () => {
  const cause = new Error('socket closed');
  const error = new StorageError('unavailable', 'the store does not answer', { cause });
  assert.ok(error instanceof Error);
  assert.equal(error.name, 'StorageError');
  assert.equal(error.kind, 'unavailable');
  assert.equal(error.cause, cause);
  assert.equal('cause' in new StorageError('invalid', 'no cause'), false);
});

test('isStorageError tells kinds apart, and our errors from others', () => {
  const error: unknown = new StorageError('exists', 'taken');
  assert.equal(isStorageError(error), true);
  assert.equal(isStorageError(error, 'exists'), true);
  assert.equal(isStorageError(error, 'notFound'), false);
  for (const other of [new Error('exists'), { kind: 'exists' }, undefined, null, 'exists']) {
    assert.equal(isStorageError(other), false);
  }
});

test('messageOf has words for anything thrown', () => {
  assert.equal(messageOf(new Error('broken')), 'broken');
  assert.equal(messageOf('broken'), 'broken');
  assert.equal(messageOf(undefined), 'undefined');
});

test('a broken invariant is an AssertionError that says what was expected', () => {
  check(true, 'nothing');
  assert.throws(
    () => check(false, 'the log grows'),
    new AssertionError('invariant broken: the log grows'),
  );
  assert.throws(() => unreachable('x' as never), AssertionError);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../base/errors.ts';
import { clientMessageOf, errnoOf } from './errors.ts';

test('kinds map to NBD errors; a bug is EIO and keeps its message to itself', () => {
  assert.equal(errnoOf(new StorageError('readOnly', '')), 1);
  assert.equal(errnoOf(new StorageError('corrupt', '')), 5);
  assert.equal(errnoOf(new StorageError('unavailable', '')), 5);
  assert.equal(errnoOf(new StorageError('invalid', '')), 22);
  assert.equal(errnoOf(new StorageError('noSpace', '')), 28);
  assert.equal(errnoOf(new StorageError('fenced', '')), 108);
  assert.equal(errnoOf(new StorageError('aborted', '')), 108);
  assert.equal(errnoOf(new TypeError('secret')), 5);
  assert.equal(clientMessageOf(new TypeError('secret')), 'internal error');
  assert.equal(clientMessageOf(new StorageError('corrupt', 'frame 3')), 'frame 3');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { errorText, exitCodeOf } from './exit-codes.ts';

test('the exit codes that scripts rely on', () => {
  assert.equal(exitCodeOf(new StorageError('invalid', '')), 2);
  assert.equal(exitCodeOf(new StorageError('fenced', '')), 3);
  assert.equal(exitCodeOf(new StorageError('wrongKey', '')), 4);
  assert.equal(exitCodeOf(new StorageError('corrupt', '')), 5);
  for (const kind of [
    'notFound',
    'exists',
    'unavailable',
    'denied',
    'noSpace',
    'aborted',
  ] as const) {
    assert.equal(exitCodeOf(new StorageError(kind, '')), 1, kind);
  }
  assert.equal(exitCodeOf(new TypeError('a bug')), 1);
  assert.equal(exitCodeOf('text'), 1);
});

test('an error is one line, whatever it says', () => {
  const error = new StorageError('exists', 'first\n  second\r\nthird');
  assert.equal(errorText(error, false), 'varve: first second third\n');
});

test('a bug is named as one, a system error is not', () => {
  assert.match(errorText(new TypeError('x is undefined'), false), /^varve: internal error \(/);
  const system = Object.assign(new Error('EACCES: no'), { code: 'EACCES', syscall: 'open' });
  assert.equal(errorText(system, false), 'varve: EACCES: no\n');
});

test('the stack and its causes follow only when asked for', () => {
  const error = new StorageError('corrupt', 'outer', { cause: new Error('inner') });
  assert.doesNotMatch(errorText(error, false), /inner|at /);
  assert.match(errorText(error, true), /outer\n[^]*at [^]*caused by: Error: inner\n/);
});

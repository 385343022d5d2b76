import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { parsePskFile } from './psk-file.ts';

const KEY = '00112233445566778899aabbccddeeFF';

test('keys are read as psktool writes them', () => {
  const keys = parsePskFile('keys', `alice:${KEY}\r\n\n# a note\nb:c:${KEY}${KEY}\n`);
  assert.deepEqual([...keys.keys()], ['alice', 'b:c']);
  assert.equal(keys.get('alice')?.toString('hex'), KEY.toLowerCase());
});

test('a complaint names the line and never what is on it', () => {
  const cases = [
    [`alice`, 1],
    [`\nalice:${KEY}0`, 2],
    [`alice:${KEY.slice(2)}`, 1],
    [`alice:${KEY.repeat(5)}`, 1],
    [`alice:${KEY}\nalice:${KEY}`, 2],
    [`${'x'.repeat(129)}:${KEY}`, 1],
    [`:${KEY}`, 1],
  ] as const;
  for (const [text, line] of cases) {
    assert.throws(
      () => parsePskFile('keys', text),
      (error) =>
        isStorageError(error, 'invalid') &&
        error.message.startsWith(`keys:${line}: `) &&
        !error.message.includes(KEY.slice(2, 20)),
      text,
    );
  }
  assert.throws(() => parsePskFile('keys', '\n'), /no key/);
});

// What the client makes of answers, however they are cut into parts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../../base/errors.ts';
import { type AdminClient, createAdminClient } from './client.ts';
import { COLLECTED } from './testing.ts';

const told = (done: number): string =>
  JSON.stringify({ progress: { what: 'moving', done, total: 3 } });

/** A client of a server that says `text` in parts of so many characters. */
function clientOf(text: string, partCharacters: number): AdminClient {
  return createAdminClient('admin.sock', async (_question, onText) => {
    for (let at = 0; at < text.length; at += partCharacters) {
      onText(text.slice(at, at + partCharacters));
    }
    return 200;
  });
}

test('progress and answer are told apart, wherever the parts are cut', async () => {
  const text = `${told(1)}\n${told(2)}\n${JSON.stringify(COLLECTED)}\n`;
  for (const partCharacters of [1, 7, told(1).length, told(1).length + 1, text.length]) {
    const seen: number[] = [];
    const client = clientOf(text, partCharacters);
    const report = await client.collect((_what, done) => seen.push(done));
    assert.deepEqual(report, COLLECTED);
    assert.deepEqual(seen, [1, 2]);
  }
});

test('a line that is no progress is looked at once, and refused with the answer', async () => {
  const bad = `{"progress":${'x'.repeat(100_000)}\n${'y'.repeat(300_000)}`;
  const refused = clientOf(bad, 1).collect(() => assert.fail('nothing is told'));
  await assert.rejects(refused, (error) => isStorageError(error, 'unavailable'));
});

test('an answer that is too long is refused before all of it is kept', async () => {
  const part = 'x'.repeat(1024 * 1024);
  let parts = 0;
  const client = createAdminClient('admin.sock', async (_question, onText) => {
    for (; parts < 100; parts++) onText(part);
    return 200;
  });
  await assert.rejects(client.flush(), (error) => isStorageError(error, 'unavailable'));
  assert.equal(parts, 16);
});

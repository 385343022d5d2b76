import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StorageError } from '../base/errors.ts';
import { createPinoLog, type LogSettings } from './pino-log.ts';

function logged(settings: LogSettings, write: (log: ReturnType<typeof createPinoLog>) => void) {
  const dir = mkdtempSync(join(tmpdir(), 'varve-log-'));
  try {
    const path = join(dir, 'log');
    write(createPinoLog(settings, path));
    return readFileSync(path, 'utf8');
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('JSON lines hold the event, its fields, and errors with their kind and cause', () => {
  const text = logged({ level: 'info', format: 'json' }, (log) => {
    const cause = new StorageError('unavailable', 'slow');
    log.info('segment.uploaded', { segment: 7, bytes: 12 });
    log.error('put.failed', { error: new StorageError('corrupt', 'bad', { cause }) });
  });
  const [first, second] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(first.msg, 'segment.uploaded');
  assert.equal(first.segment, 7);
  assert.equal(second.error.kind, 'corrupt');
  assert.equal(second.error.cause.message, 'slow');
});

test('lines below the level are dropped', () => {
  const text = logged({ level: 'warn', format: 'json' }, (log) => {
    log.debug('a');
    log.info('b');
    log.warn('c');
  });
  assert.equal(text.trim().split('\n').length, 1);
});

test('lines for people name level, event and fields', () => {
  const text = logged({ level: 'debug', format: 'pretty' }, (log) =>
    log.warn('disk.slow', { ms: 9 }),
  );
  assert.match(text, /WARN.*disk\.slow.*"ms":9/);
});

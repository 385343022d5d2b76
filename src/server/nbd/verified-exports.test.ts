import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryVolume, memoryDirectory } from '../../../test/support/memory-device.ts';
import { silentLog } from '../../base/log.ts';
import { directoryFor } from './access.ts';
import { volumeOf, withWriteVerifier } from './verified-exports.ts';

const VERIFIER = '5f0c1b2a3d4e5f60';
const exports = withWriteVerifier(
  memoryDirectory([createMemoryVolume('pg', 4096), createMemoryVolume('other', 4096)]),
  VERIFIER,
  silentLog,
);

function nameOf(exportName: string): string {
  const device = exports.open(exportName);
  device.close();
  return device.name;
}

test('the canonical name is told to who asks with a slash', () => {
  assert.equal(nameOf('pg'), 'pg');
  assert.equal(nameOf('pg/'), `pg/${VERIFIER}`);
  assert.equal(nameOf(`pg/${VERIFIER}`), `pg/${VERIFIER}`);
});

test('another verifier is refused with the reason, another volume is not there', () => {
  const stale = 'pg/0123456789abcdef';
  assert.throws(() => exports.open(stale), {
    kind: 'denied',
    message: /verifier of "pg" is not 0123456789abcdef any more.*Attach anew/,
  });
  assert.throws(() => exports.open(`pg/${VERIFIER}/`), { kind: 'denied' });
  assert.throws(() => exports.open(`none/${VERIFIER}`), { kind: 'notFound' });
});

test('who may open a volume may open it by its verifier, and nobody else', () => {
  const seen = directoryFor(exports, { '*': ['pg'] }, undefined);
  assert.equal(seen.open(`pg/${VERIFIER}`).name, `pg/${VERIFIER}`);
  assert.throws(() => seen.open(`other/${VERIFIER}`), { kind: 'notFound' });
  assert.throws(() => seen.open('other/'), { kind: 'notFound' });
});

test('an export name without a slash is a volume', () => {
  assert.equal(volumeOf('pg'), 'pg');
  assert.equal(volumeOf('pg/1/2'), 'pg');
  assert.equal(volumeOf(''), '');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStorageError } from '../base/errors.ts';
import { formatSize, parseSize } from './size.ts';

test('units are binary, in either case, with or without iB', () => {
  for (const text of ['10G', '10g', '10GiB', ' 10 G ', String(10 * 2 ** 30)]) {
    assert.equal(parseSize(text), 10 * 2 ** 30, text);
  }
  assert.equal(parseSize('512M'), 512 * 2 ** 20);
  assert.equal(parseSize('1T'), 2 ** 40);
  assert.equal(parseSize('1.5K'), 1536);
  assert.equal(parseSize(4096), 4096);
});

test('what is no whole number of bytes is refused by name', () => {
  for (const text of ['', '10X', 'G', '-1', '1e9', '0.3', '10GB', '9000P', '1.0001K']) {
    assert.throws(
      () => parseSize(text),
      (error) => isStorageError(error, 'invalid'),
      text,
    );
  }
});

test('any whole number of units parses to itself, and any text parses or is invalid', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 4095 }),
      fc.constantFrom('K', 'M', 'G', 'T'),
      (n, unit) => {
        assert.equal(parseSize(`${n}${unit}`), n * 1024 ** ('KMGT'.indexOf(unit) + 1));
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        assert.ok(parseSize(text) >= 0);
      } catch (error) {
        assert.ok(isStorageError(error, 'invalid'));
      }
    }),
  );
});

test('people read sizes in the unit that fits', () => {
  assert.equal(formatSize(0), '0 B');
  assert.equal(formatSize(1023), '1023 B');
  assert.equal(formatSize(1536), '1.5 KiB');
  assert.equal(formatSize(10 * 2 ** 30), '10 GiB');
  assert.equal(formatSize(2 ** 60), '1024 PiB');
});

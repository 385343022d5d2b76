import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from './assert.ts';
import {
  ByteReader,
  ByteWriter,
  compareBytes,
  equalBytes,
  readSortable,
  readU53LE,
  writeSortable,
  writeU53LE,
} from './bytes.ts';
import { isStorageError, StorageError } from './errors.ts';

const u53 = fc.oneof(
  fc.maxSafeNat(),
  fc.integer({ min: 0, max: 53 }).map((bits) => Math.min(2 ** bits, Number.MAX_SAFE_INTEGER)),
  fc.integer({ min: 0, max: 53 }).map((bits) => 2 ** bits - 1),
);
const NOT_U53 = [-1, 0.5, NaN, Infinity, 2 ** 53];

const isCorrupt = (error: unknown): boolean => isStorageError(error, 'corrupt');

type Item =
  | { kind: 'u8'; value: number }
  | { kind: 'varint'; value: number }
  | { kind: 'bytes'; value: Uint8Array }
  | { kind: 'text'; value: string };

const item: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('varint' as const), value: u53 }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({
    kind: fc.constant('text' as const),
    value: fc.string({ unit: 'grapheme', maxLength: 20 }),
  }),
);

function write(writer: ByteWriter, { kind, value }: Item): void {
  if (kind === 'u8') writer.u8(value);
  else if (kind === 'varint') writer.varint(value);
  else if (kind === 'bytes') writer.lengthPrefixed(value);
  else writer.text(value);
}

function readBack(reader: ByteReader, kind: Item['kind']): Item['value'] {
  if (kind === 'u8') return reader.u8();
  if (kind === 'varint') return reader.varint();
  if (kind === 'bytes') return new Uint8Array(reader.lengthPrefixed());
  return reader.text();
}

test('what ByteWriter wrote, ByteReader reads, to the last byte', () => {
  fc.assert(
    fc.property(fc.array(item), fc.nat(64), (items, capacity) => {
      const writer = new ByteWriter(capacity);
      for (const each of items) write(writer, each);
      const bytes = writer.finish();
      assert.deepEqual(bytes, new Uint8Array(writer.view()));
      const reader = new ByteReader(bytes, 'sample');
      for (const { kind, value } of items) assert.deepEqual(readBack(reader, kind), value);
      reader.expectEnd();
    }),
  );
});

test('every truncation is found out, and the reader says so as `corrupt`', () => {
  fc.assert(
    fc.property(fc.array(item, { minLength: 1, maxLength: 10 }), fc.nat(), (items, cut) => {
      const writer = new ByteWriter();
      for (const each of items) write(writer, each);
      const reader = new ByteReader(writer.view().subarray(0, cut % writer.length), 'sample');
      assert.throws(() => {
        for (const { kind } of items) readBack(reader, kind);
      }, isCorrupt);
    }),
  );
});

test('random bytes give values or `corrupt`, never anything else', () => {
  const kinds = fc.array(fc.constantFrom('u8', 'varint', 'bytes', 'text', 'count', 'end'), {
    minLength: 1,
  });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), kinds, (bytes, steps) => {
      const reader = new ByteReader(bytes, 'noise');
      try {
        for (const step of steps) {
          if (step === 'count') assert.ok(reader.count(3) * 3 <= reader.remaining);
          else if (step === 'end') reader.expectEnd();
          else readBack(reader, step);
          assert.ok(reader.offset <= bytes.length);
        }
      } catch (error) {
        if (!isCorrupt(error)) throw error;
      }
    }),
    { numRuns: 1000 },
  );
});

test('text keeps a leading byte-order mark, and text that is not UTF-8 is `corrupt`', () => {
  const writer = new ByteWriter();
  writer.text('\uFEFFname');
  assert.equal(new ByteReader(writer.view(), 'sample').text(), '\uFEFFname');
  writer.reset();
  writer.lengthPrefixed(new Uint8Array([0x61, 0xff]));
  assert.throws(() => new ByteReader(writer.view(), 'sample').text(), isCorrupt);
});

test('varints: known encodings, and integers that are too large or too long', () => {
  const encodings: [number, number[]][] = [
    [0, [0]],
    [127, [127]],
    [128, [128, 1]],
    [300, [172, 2]],
    [2 ** 32, [128, 128, 128, 128, 16]],
    [Number.MAX_SAFE_INTEGER, [255, 255, 255, 255, 255, 255, 255, 15]],
  ];
  for (const [value, bytes] of encodings) {
    const writer = new ByteWriter();
    writer.varint(value);
    assert.deepEqual([...writer.view()], bytes);
  }
  const past = new Uint8Array([128, 128, 128, 128, 128, 128, 128, 16]);
  assert.throws(() => new ByteReader(past, 'sample').varint(), /past 2\^53-1/);
  const overlong = new Uint8Array(9).fill(128);
  assert.throws(() => new ByteReader(overlong, 'sample').varint(), /overlong/);
});

test('a count that the rest cannot hold is `corrupt` before anyone allocates for it', () => {
  const bytes = new Uint8Array([3, 0, 0, 0, 0, 0, 0]);
  assert.equal(new ByteReader(bytes, 'sample').count(2), 3);
  assert.throws(() => new ByteReader(bytes, 'sample').count(3), isCorrupt);
});

test('a u53 comes back from its 8 bytes, in little-endian order', () => {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  fc.assert(
    fc.property(u53, fc.nat(4), (value, at) => {
      writeU53LE(view, at, value);
      assert.equal(readU53LE(view, at), value);
      assert.equal(view.getBigUint64(at, true), BigInt(value));
    }),
  );
  view.setBigUint64(0, 2n ** 53n, true);
  assert.throws(() => readU53LE(view, 0), isCorrupt);
  assert.throws(() => readU53LE(view, 5), isCorrupt);
});

test('sortable integers compare as bytes the way they compare as numbers', () => {
  fc.assert(
    fc.property(u53, u53, (a, b) => {
      const left = new Uint8Array(9);
      const right = new Uint8Array(9);
      writeSortable(left, 1, a, 7);
      writeSortable(right, 1, b, 7);
      assert.equal(readSortable(left, 1, 7), a);
      assert.equal(Math.sign(compareBytes(left, right)), Math.sign(a - b));
    }),
  );
  assert.throws(() => readSortable(new Uint8Array(4), 1, 4), isCorrupt);
  assert.throws(() => readSortable(new Uint8Array(8).fill(255), 0, 8), isCorrupt);
});

test('numbers that a field cannot hold are refused, not cut off', () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const bad of NOT_U53) {
    assert.throws(() => writeU53LE(view, 0, bad), AssertionError);
    assert.throws(() => writeSortable(new Uint8Array(8), 0, bad, 8), AssertionError);
    assert.throws(() => new ByteWriter().varint(bad), AssertionError);
  }
  assert.throws(() => writeSortable(new Uint8Array(8), 0, 256, 1), AssertionError);
  assert.throws(() => writeSortable(new Uint8Array(8), 6, 1, 4), AssertionError);
});

test('finish hands out an owned copy; reset starts over', () => {
  const writer = new ByteWriter(1);
  writer.text('first');
  const first = writer.finish();
  const copy = new Uint8Array(first);
  writer.reset();
  writer.text('other');
  assert.deepEqual(first, copy);
  assert.equal(writer.finish().length, first.length);
});

test('compareBytes orders as memcmp does, a prefix first', () => {
  const short = fc.uint8Array({ maxLength: 6, max: 3 });
  fc.assert(
    fc.property(short, short, (a, b) => {
      assert.equal(Math.sign(compareBytes(a, b)), Buffer.compare(a, b));
      assert.equal(equalBytes(a, b), Buffer.compare(a, b) === 0);
    }),
  );
});

test('errors name the structure and the place', () => {
  const reader = new ByteReader(new Uint8Array([5, 1]), 'frame table');
  assert.throws(
    () => reader.lengthPrefixed(),
    new StorageError('corrupt', 'frame table ends early (at byte 1)'),
  );
});

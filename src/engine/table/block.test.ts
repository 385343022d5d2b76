import { test } from 'node:test';
import { deepEqual, equal, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { compareBytes } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import { BlockBuilder } from './block-builder.ts';
import { BlockCursor } from './block-cursor.ts';
import { Block } from './block.ts';
import type { Entry } from './cursor.ts';
import { entryTexts, sortedEntries } from './testing.ts';

// A small alphabet makes long shared prefixes, and keys that are prefixes of others.
const key = fc.oneof(
  fc
    .array(fc.integer({ min: 0, max: 2 }), { maxLength: 40 })
    .map((bytes) => Uint8Array.from(bytes)),
  fc.uint8Array({ maxLength: 20 }),
);
const value = fc.uint8Array({ maxLength: 300 });
const entries = fc
  .array(fc.record({ key, value }), { minLength: 1, maxLength: 80 })
  .map(sortedEntries);

function build(list: readonly Entry[]): Uint8Array {
  const builder = new BlockBuilder(64);
  for (const entry of list) builder.add(entry.key, entry.value);
  const { byteLength } = builder;
  const bytes = new Uint8Array(builder.finish());
  equal(bytes.length, byteLength);
  return bytes;
}

function readAll(block: Block): Entry[] {
  const cursor = new BlockCursor();
  cursor.enter(block);
  return rest(cursor);
}

function rest(cursor: BlockCursor): Entry[] {
  const found: Entry[] = [];
  while (cursor.next()) {
    found.push({ key: new Uint8Array(cursor.key), value: new Uint8Array(cursor.value) });
  }
  return found;
}

test('a block gives back every entry, one by one and in order, and no other', () => {
  fc.assert(
    fc.property(entries, fc.array(key, { maxLength: 20 }), (list, others) => {
      const block = new Block(build(list), 'test');
      const texts = new Map(list.map((entry) => [String(entry.key), entry.value]));
      for (const entry of list) deepEqual(block.get(entry.key), entry.value);
      for (const other of others) deepEqual(block.get(other), texts.get(String(other)));
      deepEqual(entryTexts(readAll(block)), entryTexts(list));
    }),
    { numRuns: 300 },
  );
});

test('a seek stops at the first key that is not smaller', () => {
  fc.assert(
    fc.property(entries, key, (list, from) => {
      const cursor = new BlockCursor();
      cursor.seek(new Block(build(list), 'test'), from);
      const wanted = list.filter((entry) => compareBytes(entry.key, from) >= 0);
      deepEqual(entryTexts(rest(cursor)), entryTexts(wanted));
    }),
    { numRuns: 300 },
  );
});

test('a builder that is reset builds the next block as a fresh one would', () => {
  fc.assert(
    fc.property(entries, entries, (first, second) => {
      const builder = new BlockBuilder(64);
      for (const entry of first) builder.add(entry.key, entry.value);
      builder.finish();
      builder.reset();
      for (const entry of second) builder.add(entry.key, entry.value);
      deepEqual(new Uint8Array(builder.finish()), build(second));
    }),
  );
});

function onlyCorrupt(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!isStorageError(error, 'corrupt')) throw error;
  }
}

test('random, truncated and altered bytes give `corrupt` or entries, and never run away', () => {
  const garbage = fc.uint8Array({ maxLength: 200 });
  const altered = fc
    .tuple(entries, fc.nat(), fc.nat({ max: 255 }), fc.nat({ max: 20 }))
    .map(([list, at, byte, cut]) => {
      const bytes = build(list);
      bytes[at % bytes.length] = byte;
      return bytes.subarray(0, bytes.length - Math.min(cut, bytes.length));
    });
  fc.assert(
    fc.property(fc.oneof(garbage, altered), key, (bytes, wanted) => {
      onlyCorrupt(() => new Block(bytes, 'test').get(wanted));
      onlyCorrupt(() => readAll(new Block(bytes, 'test')));
      onlyCorrupt(() => new BlockCursor().seek(new Block(bytes, 'test'), wanted));
    }),
    { numRuns: 2000 },
  );
});

test('a block too short for its restart points is corrupt', () => {
  throws(() => new Block(new Uint8Array(7), 'test'), { kind: 'corrupt' });
  throws(() => new Block(new Uint8Array(100), 'test'), { kind: 'corrupt' });
});

test('an entry of the usual shape costs four bytes beside its value', () => {
  const builder = new BlockBuilder(64);
  const count = 640;
  for (let i = 0; i < count; i++) {
    builder.add(Uint8Array.of(2, 0, 0, 0, 0, 0, 7, 0, 0, 0, i >> 8, i & 255), new Uint8Array(10));
  }
  // Head, value length, one byte of the key; one key in sixteen is whole and has a restart point.
  const each = builder.finish().length / count - 10;
  equal(each < 4.1, true, `${each} bytes`);
});

test('no key that is missing is found in the place of a neighbour', () => {
  const all: Uint8Array[] = [];
  for (let length = 0; length <= 5; length++) {
    for (let bits = 0; bits < 1 << length; bits++) {
      all.push(Uint8Array.from({ length }, (_, i) => (bits >> i) & 1));
    }
  }
  const chosen = fc.array(fc.boolean(), { minLength: all.length, maxLength: all.length });
  fc.assert(
    fc.property(chosen, (present) => {
      const some = all.filter((_, i) => i === 0 || present[i]);
      const list = sortedEntries(some.map((one) => ({ key: one, value: one })));
      const block = new Block(build(list), 'test');
      for (const [i, one] of all.entries()) {
        deepEqual(block.get(one), i === 0 || present[i] ? one : undefined);
      }
    }),
  );
});

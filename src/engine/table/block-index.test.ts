import { test } from 'node:test';
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { compareBytes } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import { BlockIndex, IndexBuilder } from './block-index.ts';
import { sortedEntries } from './testing.ts';

const key = fc
  .array(fc.integer({ min: 0, max: 3 }), { maxLength: 8 })
  .map((b) => Uint8Array.from(b));
const NO_VALUE = new Uint8Array(0);

/** Ascending keys, and how many of them each block takes. */
const layout = fc
  .tuple(
    fc.array(key, { minLength: 1, maxLength: 60 }),
    fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 60, maxLength: 60 }),
  )
  .map(([keys, sizes]) => {
    const rest = sortedEntries(keys.map((k) => ({ key: k, value: NO_VALUE }))).map((e) => e.key);
    const blocks: Uint8Array[][] = [];
    while (rest.length > 0) blocks.push(rest.splice(0, sizes[blocks.length]!));
    return blocks;
  });

function build(blocks: readonly Uint8Array[][]): Uint8Array {
  const builder = new IndexBuilder();
  for (const [i, block] of blocks.entries()) {
    builder.addBlock(blocks[i - 1]?.at(-1), block[0]!);
    builder.endBlock(100 + i);
  }
  return builder.finish(
    blocks.map((_, i) => 50 + i),
    blocks.at(-1)!.at(-1)!,
  );
}

test('every key is found in its block, and sizes and offsets come back', () => {
  fc.assert(
    fc.property(layout, (blocks) => {
      const index = new BlockIndex(build(blocks), 'test');
      equal(index.blockCount, blocks.length);
      deepEqual(index.lastKey, blocks.at(-1)!.at(-1)!);
      let at = 0;
      for (const [i, block] of blocks.entries()) {
        equal(index.sealedStart(i), at);
        at += 50 + i;
        equal(index.sealedEnd(i), at);
        equal(index.plainBytes(i), 100 + i);
        for (const one of block) equal(index.find(one), i);
      }
      equal(index.dataBytes, at);
    }),
  );
});

test('a range ends behind every block that holds a key below, and at most one more', () => {
  fc.assert(
    fc.property(layout, key, (blocks, to) => {
      const end = new BlockIndex(build(blocks), 'test').findEnd(to);
      const needed = blocks.findLastIndex((block) => compareBytes(block[0]!, to) < 0) + 1;
      ok(end >= needed && end <= Math.max(1, needed + 1), `${end} for ${needed}`);
    }),
  );
});

test('separators are as short as they can be', () => {
  const blocks = [
    [Uint8Array.of(1, 1, 1, 1), Uint8Array.of(1, 1, 1, 2)],
    [Uint8Array.of(1, 2, 7, 7), Uint8Array.of(9, 9, 9)],
  ];
  // Count, last key, then per block: two lengths, suffix, two sizes.
  equal(build(blocks).length, 1 + 4 + (2 + 0 + 2) + (2 + 2 + 2));
});

test('truncated, altered and random bytes are corrupt or an index, and never run away', () => {
  const altered = fc
    .tuple(layout, fc.nat(), fc.nat({ max: 255 }), fc.nat({ max: 9 }))
    .map(([blocks, at, byte, cut]) => {
      const bytes = build(blocks);
      bytes[at % bytes.length] = byte;
      return bytes.subarray(0, bytes.length - Math.min(cut, bytes.length));
    });
  fc.assert(
    fc.property(fc.oneof(altered, fc.uint8Array({ maxLength: 100 })), key, (bytes, wanted) => {
      try {
        const index = new BlockIndex(bytes, 'test');
        ok(index.find(wanted) < index.blockCount);
      } catch (error) {
        if (!isStorageError(error, 'corrupt')) throw error;
      }
    }),
    { numRuns: 1000 },
  );
  const whole = build([[Uint8Array.of(1)], [Uint8Array.of(2)]]);
  for (let length = 0; length < whole.length; length++) {
    throws(() => new BlockIndex(whole.subarray(0, length), 'test'), { kind: 'corrupt' });
  }
});

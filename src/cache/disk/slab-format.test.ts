import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bytesOf,
  CELL_BYTES,
  CELL_WORDS,
  cellsFrom,
  decodeHeader,
  encodeDirectory,
  encodeHeader,
  finishRecord,
  isDirectory,
  isRecord,
  recordCount,
  saltHigh,
  saltLow,
  type SlabHeader,
  slabName,
  slotOf,
  trailerCount,
} from './slab-format.ts';

const word = fc.nat(2 ** 32 - 1);
const header: fc.Arbitrary<SlabHeader> = fc
  .tuple(fc.constantFrom(1 as const, 2 as const), word, word, word)
  .map(([kind, sequence, generationLow, generationHigh]) => ({
    kind,
    sequence,
    generationLow,
    generationHigh,
  }));
const lengths = fc.array(fc.nat(70_000), { minLength: 1, maxLength: 20 });

/** A record at byte `offset` of a slab. */
function recordOf(own: SlabHeader, sizes: readonly number[], offset: number): Uint32Array {
  const cells = new Uint32Array((1 + sizes.length) * CELL_WORDS);
  let at = offset + cells.byteLength;
  for (const [index, size] of sizes.entries()) {
    cells.set([7, 8, index, at, size, 9], (1 + index) * CELL_WORDS);
    at += size;
  }
  finishRecord(cells, own, at - offset - cells.byteLength);
  return cells;
}

test('a header comes back as it was written, and no byte of it may change', () => {
  fc.assert(
    fc.property(header, fc.nat(CELL_BYTES - 1), fc.integer({ min: 1, max: 255 }), (own, at, by) => {
      const cell = encodeHeader(own);
      assert.deepEqual(decodeHeader(cell), own);
      bytesOf(cell)[at]! ^= by;
      assert.equal(decodeHeader(cell), undefined);
    }),
  );
});

test('the bytes of a header are those of the format page', () => {
  const cell = encodeHeader({ kind: 2, sequence: 3, generationLow: 4, generationHigh: 5 });
  const bytes = Buffer.from(bytesOf(cell));
  assert.equal(bytes.toString('latin1', 0, 4), 'VVDS');
  assert.deepEqual([...bytes.subarray(4, 20)], [1, 0, 2, 0, 4, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0]);
  assert.equal(bytes.readUInt32LE(20), 0x23a31ef8);
});

test('a record is recognised at its place, in its generation, whole', () => {
  fc.assert(
    fc.property(header, lengths, fc.nat(10_000), fc.nat(), (own, sizes, offset, flip) => {
      const cells = recordOf(own, sizes, offset);
      assert.equal(recordCount(cells, own), sizes.length);
      assert.equal(isRecord(cells, offset), true);
      assert.equal(isRecord(cells, offset + 24), false, 'elsewhere');
      const other = { ...own, generationHigh: own.generationHigh ^ 1 };
      assert.equal(recordCount(cells, other), -1, 'of an earlier filling');
      bytesOf(cells)[flip % cells.byteLength]! ^= 1;
      const same = recordCount(cells, own) === sizes.length;
      assert.equal(same && isRecord(cells, offset), false, 'damaged');
    }),
  );
});

test('a directory is recognised whole, at the end of its file', () => {
  fc.assert(
    fc.property(header, lengths, fc.nat(), (own, sizes, flip) => {
      const record = recordOf(own, sizes, CELL_BYTES);
      const end = CELL_BYTES + record.byteLength + sizes.reduce((sum, size) => sum + size, 0);
      const cells = encodeDirectory(record.subarray(CELL_WORDS), own, end);
      const trailer = (): Uint32Array => cells.subarray(cells.length - CELL_WORDS);
      const fileBytes = end + cells.byteLength;
      assert.equal(trailerCount(trailer(), own, fileBytes), sizes.length);
      assert.equal(isDirectory(cells), true);
      assert.equal(trailerCount(trailer(), own, fileBytes + 1), -1);
      bytesOf(cells)[flip % cells.byteLength]! ^= 1;
      const same = trailerCount(trailer(), own, fileBytes) === sizes.length;
      assert.equal(same && isDirectory(cells), false);
    }),
  );
});

test('entries past the end of the records are refused, whatever the sum says', () => {
  const own = { kind: 1, sequence: 1, generationLow: 2, generationHigh: 3 } as const;
  const entry = (offset: number, length: number): Uint32Array =>
    Uint32Array.of(1, 2, 3, offset, length, 4);
  assert.equal(isDirectory(encodeDirectory(entry(24, 76), own, 100)), true);
  assert.equal(isDirectory(encodeDirectory(entry(24, 77), own, 100)), false);
  assert.equal(isDirectory(encodeDirectory(entry(20, 10), own, 100)), false);
  assert.equal(isDirectory(encodeDirectory(entry(2 ** 32 - 1, 2 ** 32 - 1), own, 100)), false);
});

test('random bytes are nothing, and crash nothing', () => {
  const own = { kind: 1, sequence: 1, generationLow: 2, generationHigh: 3 } as const;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const cells = cellsFrom(bytes);
      assert.equal(decodeHeader(cells), undefined);
      assert.equal(recordCount(cells, own), -1);
      assert.equal(trailerCount(cells, own, bytes.length), -1);
    }),
  );
});

test('every bit of a salt counts', () => {
  const salt = new Uint8Array(16).fill(0x5a);
  const before = [saltLow(salt), saltHigh(salt)];
  for (let bit = 0; bit < 128; bit++) {
    const other = salt.slice();
    other[bit >> 3]! ^= 1 << (bit & 7);
    assert.notDeepEqual([saltLow(other), saltHigh(other)], before);
  }
});

test('names of slabs are written in one way only', () => {
  assert.equal(slabName(7), 'slab-0007');
  for (const slot of [0, 7, 4095]) assert.equal(slotOf(slabName(slot)), slot);
  for (const name of ['slab-7', 'slab-00007', 'slab-', 'slab-000a', 'x-0007', 'slab-0007~']) {
    assert.equal(slotOf(name), -1, name);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import { dropHoles, encodeBlockMap, overlayBlockMap } from './block-map.ts';
import { ABSENT, CHUNK_BLOCKS, createBlockMap, HOLE, pointerTo, ZERO } from './pointer.ts';

const pointers = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 36 }), fc.integer({ min: 0, max: 65_535 }))
  .map(([segment, block]) => pointerTo(segment, block));

/** Runs as real writes make them, as well as single blocks. */
const maps = fc
  .array(
    fc.record({
      length: fc.integer({ min: 1, max: 12 }),
      first: fc.oneof(fc.constantFrom(ABSENT, HOLE, ZERO), pointers),
    }),
    { maxLength: 32 },
  )
  .map((runs) => {
    const map = createBlockMap();
    let at = 0;
    for (const { length, first } of runs) {
      for (let i = 0; i < length && at < CHUNK_BLOCKS; i++, at++) {
        const room = first > ZERO && (first % 65_536) + i < 65_536;
        map[at] = room ? first + i : Math.min(first, ZERO);
      }
    }
    return map;
  });

function encode(map: Float64Array, base = 0, mask = -1): Uint8Array {
  const out = new ByteWriter();
  encodeBlockMap(out, map, 0, base, mask);
  return out.finish();
}

test('a map comes back as it was encoded, whatever the base segment', () => {
  fc.assert(
    fc.property(maps, fc.integer({ min: 0, max: 50 }), (map, base) => {
      const target = createBlockMap();
      const reader = new ByteReader(encode(map, base), 'map');
      const absent = overlayBlockMap(reader, target, 0, base);
      assert.deepEqual(target, map);
      assert.equal(absent, map.filter((pointer) => pointer === ABSENT).length);
      reader.expectEnd();
    }),
  );
});

test('a mask leaves out what it does not name', () => {
  fc.assert(
    fc.property(maps, fc.integer(), (map, mask) => {
      const target = createBlockMap();
      overlayBlockMap(new ByteReader(encode(map, 0, mask), 'map'), target, 0, 0);
      const expected = map.map((pointer, i) => ((mask >>> i) & 1 ? pointer : ABSENT));
      assert.deepEqual(target, expected);
    }),
  );
});

test('an overlay fills only what newer layers left absent', () => {
  fc.assert(
    fc.property(maps, maps, (newer, older) => {
      const target = createBlockMap();
      overlayBlockMap(new ByteReader(encode(newer), 'map'), target, 0, 0);
      overlayBlockMap(new ByteReader(encode(older), 'map'), target, 0, 0);
      assert.deepEqual(
        target,
        newer.map((pointer, i) => (pointer === ABSENT ? older[i]! : pointer)),
      );
    }),
  );
});

test('truncated and random bytes are corrupt or a map, never a crash', () => {
  const refuses = (bytes: Uint8Array): void => {
    try {
      overlayBlockMap(new ByteReader(bytes, 'map'), createBlockMap(), 0, 1);
    } catch (error) {
      assert.ok(isStorageError(error, 'corrupt'), String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), refuses));
  fc.assert(
    fc.property(maps, fc.nat(), (map, cut) => {
      const bytes = encode(map);
      const short = bytes.subarray(0, cut % bytes.length);
      const read = (): number =>
        overlayBlockMap(new ByteReader(short, 'map'), createBlockMap(), 0, 0);
      assert.throws(read, (error) => isStorageError(error, 'corrupt'));
    }),
  );
});

test('32 blocks in a row take a handful of bytes', () => {
  const map = createBlockMap();
  for (let i = 0; i < CHUNK_BLOCKS; i++) map[i] = pointerTo(1000, 64 + i);
  assert.ok(encode(map).length <= 6);
  assert.ok(encode(map, 1000).length <= 4);
});

test('in the oldest layer holes are dropped, asked-for zeroes stay', () => {
  const map = createBlockMap();
  map[3] = HOLE;
  assert.equal(dropHoles(map, 0), false);
  assert.equal(map[3], ABSENT);
  map[4] = ZERO;
  assert.equal(dropHoles(map, 0), true);
  assert.equal(map[4], ZERO);
});

test('a pointer past the last segment is refused: it would name another block', () => {
  for (const [segment, sound] of [
    [2 ** 37 - 1, true],
    [2 ** 37, false],
  ] as const) {
    const out = new ByteWriter();
    out.u8(3 << 5);
    out.varint(segment);
    out.varint(65_535);
    out.u8(0xff);
    const map = createBlockMap();
    const read = (): number => overlayBlockMap(new ByteReader(out.finish(), 'map'), map, 0, 0);
    if (!sound) assert.throws(read, (error) => isStorageError(error, 'corrupt'));
    else assert.equal(read(), 31);
  }
});

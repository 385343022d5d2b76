import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createSeededRng } from '../base/rng.ts';
import type { ReadAhead, ReadAheadRange } from './read-ahead.ts';
import { createReadAhead, STREAMS_MAX, PIECE_BYTES_MIN } from './read-ahead.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

function ofDevice(deviceBytes: number, distanceBytesMax = 8 * MIB): ReadAhead {
  return createReadAhead({ deviceBytes, distanceBytesMax });
}

/** Reads [start, end) in order; returns what was to be fetched. */
function readThrough(
  readAhead: ReadAhead,
  start: number,
  end: number,
  length: number,
): ReadAheadRange[] {
  const ranges: ReadAheadRange[] = [];
  for (let offset = start; offset < end; offset += length) {
    const range = readAhead.observe(offset, Math.min(length, end - offset));
    if (range !== undefined) ranges.push(range);
  }
  return ranges;
}

test('the third read shows a sequential reader, who is fetched ahead by twice what it read', () => {
  const readAhead = ofDevice(GIB, 4 * MIB);
  assert.equal(readAhead.observe(0, 64 * KIB), undefined);
  assert.equal(readAhead.observe(64 * KIB, 64 * KIB), undefined);
  // Twice 192 KiB ahead is 576 KiB: the last whole chunk before it ends at 512.
  assert.deepEqual(readAhead.observe(128 * KIB, 64 * KIB), { start: 192 * KIB, end: 512 * KIB });
  assert.deepEqual(readAhead.observe(192 * KIB, 64 * KIB), { start: 512 * KIB, end: 768 * KIB });
  for (let offset = 256 * KIB; offset < MIB; offset += 64 * KIB) {
    const range = readAhead.observe(offset, 64 * KIB);
    if (range !== undefined) assert.ok(range.end <= (offset + 64 * KIB) * 3);
  }
});

test('a steady reader has pieces of a quarter of the distance under way, whole and in step', () => {
  const readAhead = ofDevice(GIB, 4 * MIB);
  readThrough(readAhead, 0, 8 * MIB, 128 * KIB);
  const ranges = readThrough(readAhead, 8 * MIB, 12 * MIB, 128 * KIB);
  assert.deepEqual(
    ranges,
    [12, 13, 14, 15].map((at) => ({ start: at * MIB, end: (at + 1) * MIB })),
  );
  const small = ofDevice(GIB, MIB);
  readThrough(small, 0, 4 * MIB, 64 * KIB);
  assert.deepEqual(
    readThrough(small, 4 * MIB, 4 * MIB + 512 * KIB, 64 * KIB).map(({ start, end }) => end - start),
    [256 * KIB, 256 * KIB],
  );
});

test('pieces of one stream join without gap or overlap, never too far ahead', () => {
  const lengths = fc.constantFrom(4 * KIB, 20 * KIB, 128 * KIB, 300 * KIB, 2 * MIB);
  const maxima = fc.constantFrom(128 * KIB, 500 * KIB, MIB, 8 * MIB);
  fc.assert(
    fc.property(lengths, maxima, fc.nat(1000), (length, distanceBytesMax, block) => {
      const deviceBytes = block * 4 * KIB + 40 * length + 4 * KIB;
      const readAhead = ofDevice(deviceBytes, distanceBytesMax);
      let aheadEnd: number | undefined;
      for (let offset = block * 4 * KIB; offset < deviceBytes; offset += length) {
        const frontier = Math.min(offset + length, deviceBytes);
        const range = readAhead.observe(offset, frontier - offset);
        if (range === undefined) continue;
        assert.ok(range.start < range.end);
        assert.ok(range.end <= deviceBytes);
        assert.equal(range.start, Math.max(aheadEnd ?? frontier, frontier));
        assert.ok(range.end - frontier <= distanceBytesMax);
        aheadEnd = range.end;
      }
      assert.equal(aheadEnd, deviceBytes);
    }),
  );
});

test('what is fetched lies ahead of the read, on the device, and once for each stream', () => {
  const read = fc.tuple(fc.constantFrom(0, 1, 2, 3), fc.nat(3), fc.integer({ min: 1, max: 64 }));
  fc.assert(
    fc.property(fc.array(read, { maxLength: 200 }), (reads) => {
      // Readers far apart, each going on from where it was, with jumps back and forth.
      const deviceBytes = 4 * GIB;
      const readAhead = ofDevice(deviceBytes, 2 * MIB);
      const positions = [0, GIB, 2 * GIB, 4 * GIB - 2 * MIB];
      const fetched = [0, 0, 0, 0];
      for (const [reader, jump, blocks] of reads) {
        const offset = Math.max(
          0,
          positions[reader]! + (jump === 1 ? 8 : jump === 2 ? -8 : 0) * KIB,
        );
        const length = Math.min(blocks * 4 * KIB, deviceBytes - offset);
        if (length <= 0) continue;
        const range = readAhead.observe(offset, length);
        positions[reader] = offset + length;
        if (range === undefined) continue;
        assert.ok(range.start >= offset + length && range.end > range.start);
        assert.ok(range.end <= deviceBytes);
        assert.ok(range.start >= fetched[reader]!, 'it was fetched before');
        fetched[reader] = range.end;
      }
    }),
  );
});

test('uniformly random reads fetch nothing', () => {
  for (const length of [4 * KIB, 16 * KIB, 128 * KIB]) {
    const rng = createSeededRng(length);
    const readAhead = ofDevice(TIB);
    for (let count = 0; count < 20_000; count++) {
      const offset = Math.floor((rng.float() * TIB) / length) * length;
      assert.equal(readAhead.observe(offset, length), undefined);
    }
  }
});

test('repeated, backward and strided reads fetch nothing', () => {
  const readAhead = ofDevice(GIB);
  for (let count = 0; count < 50; count++) {
    assert.equal(readAhead.observe(64 * KIB, 4 * KIB), undefined);
  }
  for (let offset = 600 * MIB; offset > 500 * MIB; offset -= 64 * KIB) {
    assert.equal(readAhead.observe(offset, 64 * KIB), undefined);
  }
  for (let offset = 700 * MIB; offset < 800 * MIB; offset += 64 * KIB) {
    assert.equal(readAhead.observe(offset, 4 * KIB), undefined);
  }
});

test('a deep queue that delivers out of order is still one stream', () => {
  const length = 128 * KIB;
  const count = 512;
  const rng = createSeededRng(11);
  const order = Array.from({ length: count }, (_, index) => index);
  // Each request overtakes at most three others.
  for (let at = 0; at + 4 <= count; at += 4) {
    for (let index = 3; index > 0; index--) {
      const other = Math.floor(rng.float() * (index + 1));
      [order[at + index], order[at + other]] = [order[at + other]!, order[at + index]!];
    }
  }
  const readAhead = ofDevice(GIB);
  let aheadEnd: number | undefined;
  let fetchedBytes = 0;
  for (const index of order) {
    const range = readAhead.observe(index * length, length);
    if (range === undefined) continue;
    assert.ok(aheadEnd === undefined || range.start >= aheadEnd);
    aheadEnd = range.end;
    fetchedBytes += range.end - range.start;
  }
  assert.ok(fetchedBytes > count * length * 0.95, `${fetchedBytes} bytes were fetched ahead`);
});

test('as many streams as there is room for are followed at once, beside random reads', () => {
  const readAhead = ofDevice(TIB, MIB);
  const rng = createSeededRng(5);
  const fetched = new Float64Array(STREAMS_MAX);
  for (let step = 0; step < 200; step++) {
    for (let stream = 0; stream < STREAMS_MAX; stream++) {
      const offset = stream * GIB + step * 64 * KIB;
      const range = readAhead.observe(offset, 64 * KIB);
      if (range !== undefined) fetched[stream]! += range.end - range.start;
      const elsewhere = Math.floor(rng.float() * 1000 * 256) * MIB;
      assert.equal(readAhead.observe((elsewhere % (TIB / 2)) + TIB / 2, 4 * KIB), undefined);
    }
  }
  for (const bytes of fetched) assert.ok(bytes >= 190 * 64 * KIB);
});

test('a stream that was idle longest is forgotten when another needs its place', () => {
  const readAhead = ofDevice(TIB, MIB);
  const start = (stream: number): ReadAheadRange[] =>
    readThrough(readAhead, stream * GIB, stream * GIB + 192 * KIB, 64 * KIB);
  for (let stream = 0; stream < STREAMS_MAX; stream++) assert.equal(start(stream).length, 1);
  // Stream 0 goes on, so the newcomer takes the place of stream 1.
  readAhead.observe(192 * KIB, 4 * KIB);
  assert.equal(start(STREAMS_MAX).length, 1);
  assert.equal(readThrough(readAhead, 196 * KIB, 400 * KIB, 204 * KIB).length, 1);
  assert.equal(readThrough(readAhead, GIB + 192 * KIB, GIB + 400 * KIB, 208 * KIB).length, 0);
});

test('a maximum below the smallest piece turns read-ahead off', () => {
  const readAhead = ofDevice(GIB, PIECE_BYTES_MIN - 1);
  assert.deepEqual(readThrough(readAhead, 0, 16 * MIB, 64 * KIB), []);
  assert.deepEqual(readThrough(ofDevice(GIB), 0, 0, 64 * KIB), []);
});

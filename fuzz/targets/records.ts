// What log objects and tables hold behind their seals: records, block maps, frame tables; and the
// records of volumes.

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';
import { encodeBlockMap, forEachPointerRun } from '../../src/engine/format/block-map.ts';
import { overlayBlockMap } from '../../src/engine/format/block-map.ts';
import {
  decodeSegmentEntry,
  offsetsOf,
  segmentEntryToBytes,
  withLiveCount,
} from '../../src/engine/format/frame-table.ts';
import {
  CHUNK_BLOCKS,
  createBlockMap,
  POINTER_MIN,
  pointerTo,
  segmentOf,
  ZERO,
  type BlockMap,
} from '../../src/engine/format/pointer.ts';
import {
  type CommitRecord,
  decodeRecord,
  encodeCommit,
  encodeData,
  encodeFence,
  forEachChunk,
  RECORD_COMMIT,
  RECORD_DATA,
  RECORD_FENCE,
} from '../../src/engine/format/records.ts';
import {
  decodeDirectory,
  decodeRecord as decodeVolume,
  encodeDirectory,
  encodeRecord as encodeVolume,
} from '../../src/volume/records.ts';
import { decodeBranches, encodeBranches } from '../../src/engine/branch-index.ts';
import { decodeLease, encodeLease } from '../../src/engine/format/lease.ts';
import { expect, expectEqual, roundTrip, type Target } from '../target.ts';
import { noise } from './support.ts';

const BASE_SEGMENT = 9;
const SEGMENTS_LIMIT = 2 ** 37;

function sampleMap(seed: number): BlockMap {
  const map = createBlockMap();
  for (let i = 0; i < CHUNK_BLOCKS; i++) {
    const turn = (i + seed) % 8;
    map[i] = turn < 3 ? turn : pointerTo(BASE_SEGMENT - (seed % 2), i + seed);
  }
  return map;
}

function mapBytes(map: BlockMap, base: number): Uint8Array {
  const out = new ByteWriter();
  encodeBlockMap(out, map, 0, base);
  return out.finish();
}

function checkMap(map: BlockMap): void {
  for (const pointer of map) {
    const sound =
      pointer <= ZERO || (pointer >= POINTER_MIN && segmentOf(pointer) < SEGMENTS_LIMIT);
    expect(sound && Number.isSafeInteger(pointer), 'a pointer names a block of a segment');
  }
  const again = createBlockMap();
  overlayBlockMap(new ByteReader(mapBytes(map, BASE_SEGMENT), 'map'), again, 0, BASE_SEGMENT);
  expectEqual(again, map, 'a block map that was encoded and read again');
}

function chunksBytes(): Uint8Array {
  const out = new ByteWriter();
  out.varint(2);
  for (const inode of [16, 2 ** 47]) {
    out.varint(inode);
    out.varint(2);
    for (const delta of [5, 2 ** 30]) {
      out.varint(delta);
      encodeBlockMap(out, sampleMap(delta % 5), 0, BASE_SEGMENT);
    }
  }
  return out.finish();
}

const COMMIT: CommitRecord = {
  type: RECORD_COMMIT,
  epoch: 3,
  segment: BASE_SEGMENT,
  durableBefore: 4,
  blocks: 33,
  blocksPerFrame: 16,
  frameLengths: [65_556, 300, 20],
  metas: [
    ['volumes', Uint8Array.of(1, 2, 3)],
    ['volume/ü', undefined],
  ],
  chunks: chunksBytes(),
};

type AnyRecord = ReturnType<typeof decodeRecord>;

function encodeAny(record: AnyRecord): Uint8Array {
  if (record.type === RECORD_FENCE) return encodeFence(record);
  const out = new ByteWriter();
  if (record.type === RECORD_DATA) encodeData(out, record);
  else encodeCommit(out, record);
  return out.finish();
}

function runRecord(input: Uint8Array): void {
  const record = roundTrip(input, (bytes) => decodeRecord(bytes, 'record'), encodeAny);
  if (record.type === RECORD_FENCE) return;
  const segment = record.type === RECORD_DATA ? BASE_SEGMENT : record.segment;
  forEachChunk({ chunks: record.chunks, segment }, 'record', (_inode, _chunk, map) => {
    checkMap(map);
  });
}

function runBlockMap(input: Uint8Array): void {
  const map = createBlockMap();
  const reader = new ByteReader(input, 'map');
  const absent = overlayBlockMap(reader, map, 0, (input[0] ?? 0) & 1 ? BASE_SEGMENT : 0);
  expectEqual(absent, map.filter((one) => one === 0).length, 'the count of absent blocks');
  checkMap(map);
  // The walker of tables must go the same way, or refuse.
  const walked = new ByteReader(input, 'map');
  let pointers = 0;
  forEachPointerRun(walked, (_segment, count) => (pointers += count));
  expectEqual(walked.offset, reader.offset, 'where the walk of a map ends');
  expectEqual(pointers, map.filter((one) => one > ZERO).length, 'the count of pointers');
}

const SALT = noise(1, 16);

function sampleEntry(dataId: number): Uint8Array {
  const table = {
    logNumber: 7,
    dataId,
    cipher: 'aes-256-gcm',
    salt: SALT,
    blocks: 40,
    blocksPerFrame: 16,
    offsets: offsetsOf([65_000, 300, 70]),
  } as const;
  return segmentEntryToBytes(table, 5);
}

function runSegmentEntry(input: Uint8Array): void {
  const decode = (bytes: Uint8Array): ReturnType<typeof decodeSegmentEntry> =>
    decodeSegmentEntry(new ByteReader(bytes, 'entry'));
  const { table } = roundTrip(input, decode, (entry) =>
    segmentEntryToBytes(entry.table, entry.live),
  );
  for (let f = 1; f < table.offsets.length; f++) {
    expect(table.offsets[f]! >= table.offsets[f - 1]!, 'frames follow one another');
  }
  expectEqual(decode(withLiveCount(input, 3)), { table, live: 3 }, 'an entry with another count');
}

function runVolumeRecord(input: Uint8Array): void {
  const kind = input[0] ?? 0;
  const bytes = input.subarray(1);
  if (kind % 2 === 0) {
    roundTrip(bytes, decodeDirectory, (one) => encodeDirectory(one.nextInode, one.names));
  } else {
    roundTrip(bytes, (one) => decodeVolume('disk', one), encodeVolume);
  }
}

function runLease(input: Uint8Array): void {
  const lease = roundTrip(input, (bytes) => decodeLease(bytes, 'lease'), encodeLease);
  expect(Number.isSafeInteger(lease.manifest), 'a lease names a manifest');
}

function runBranchIndex(input: Uint8Array): void {
  const decode = (bytes: Uint8Array): ReadonlyMap<string, string> => decodeBranches(bytes, 'index');
  for (const [branch, id] of roundTrip(input, decode, encodeBranches)) {
    expect(typeof branch === 'string' && typeof id === 'string', 'names and ids are text');
  }
}

function encodeData1(): Uint8Array {
  const out = new ByteWriter();
  const { epoch, blocks, blocksPerFrame, frameLengths, chunks } = COMMIT;
  encodeData(out, { type: RECORD_DATA, epoch, blocks, blocksPerFrame, frameLengths, chunks });
  return out.finish();
}

export const targets: readonly Target[] = [
  {
    name: 'record',
    kinds: ['corrupt'],
    seeds: () => [
      encodeFence({ type: RECORD_FENCE, epoch: 4, resumeAt: 99 }),
      encodeAny(COMMIT),
      encodeAny({ ...COMMIT, data: { id: 5, cipher: 'chacha20-poly1305', salt: SALT } }),
      encodeData1(),
    ],
    run: runRecord,
    // To compare, it keeps the map of each chunk: 256 bytes and a view for two bytes of input.
    memoryBytes: 8 * 1024 * 1024,
  },
  {
    name: 'block-map',
    kinds: ['corrupt'],
    seeds: () => [0, 1, 2, 3].map((seed) => mapBytes(sampleMap(seed), 0)),
    run: runBlockMap,
  },
  {
    name: 'segment-entry',
    kinds: ['corrupt'],
    // The second is as version 1 wrote it: without count and data id.
    seeds: () => [sampleEntry(0), sampleEntry(0).slice(2), sampleEntry(6)],
    run: runSegmentEntry,
  },
  {
    name: 'volume-record',
    kinds: ['corrupt'],
    seeds: () => [
      Uint8Array.of(0, ...encodeDirectory(18, ['disk', 'ü', ''])),
      Uint8Array.of(1, ...encodeVolume({ inode: 17, sizeBytes: 2 ** 40 })),
    ],
    run: runVolumeRecord,
  },
  {
    name: 'lease',
    kinds: ['corrupt'],
    seeds: () => [encodeLease({ manifest: 77, log: true, holder: 'reader on host' })],
    run: runLease,
  },
  {
    name: 'branch-index',
    kinds: ['corrupt'],
    seeds: () => [
      encodeBranches(
        new Map([
          ['main', '0a0b0c0d0e0f'],
          ['test', '1a1b'],
        ]),
      ),
    ],
    words: ['null', '{}', '[]', '["', '"],', '1', '"__proto__"', '"length"', '\\ud800'],
    run: runBranchIndex,
  },
];

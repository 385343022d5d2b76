import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import {
  decodeSegmentEntry,
  offsetsOf,
  segmentEntryToBytes,
  withLiveCount,
} from './frame-table.ts';
import { ByteReader } from '../../base/bytes.ts';
import {
  decodeRecord,
  encodeCommit,
  encodeFence,
  forEachChunk,
  RECORD_COMMIT,
  RECORD_FENCE,
  type CommitRecord,
} from './records.ts';
import { Memtable } from '../memtable/memtable.ts';
import { Segment } from '../log/segment.ts';
import { pointerTo } from './pointer.ts';

const bytes = fc.uint8Array({ maxLength: 40 });
const commits = fc.record({
  type: fc.constant(RECORD_COMMIT),
  epoch: fc.integer({ min: 1, max: 2 ** 40 }),
  segment: fc.integer({ min: 1, max: 2 ** 37 - 1 }),
  durableBefore: fc.integer({ min: 1, max: 2 ** 40 }),
  blocks: fc.constant(33),
  blocksPerFrame: fc.constant(16),
  frameLengths: fc.array(fc.integer({ min: 20, max: 70_000 }), { minLength: 3, maxLength: 3 }),
  metas: fc.array(fc.tuple(fc.string({ maxLength: 20 }), fc.option(bytes, { nil: undefined })), {
    maxLength: 5,
  }),
  chunks: bytes,
});

function encode(commit: CommitRecord): Uint8Array {
  const out = new ByteWriter();
  encodeCommit(out, commit);
  return out.finish();
}

test('a commit comes back as it was encoded', () => {
  fc.assert(
    fc.property(commits, (commit) => {
      const decoded = decodeRecord(encode(commit), 'record');
      assert.deepEqual(decoded, { ...commit, frameLengths: Uint32Array.from(commit.frameLengths) });
    }),
  );
});

test('a fence comes back as it was encoded', () => {
  const fence = { type: RECORD_FENCE, epoch: 2 ** 40, resumeAt: 2 ** 45 } as const;
  assert.deepEqual(decodeRecord(encodeFence(fence), 'record'), fence);
});

test('random and truncated records are corrupt or decode, never a crash', () => {
  const tryDecode = (input: Uint8Array): void => {
    try {
      const record = decodeRecord(input, 'record');
      if (record.type === RECORD_COMMIT) forEachChunk(record, 'record', () => {});
    } catch (error) {
      // A name that is no UTF-8 is a TypeError of the decoder, behind an authentic seal a bug of
      // the writer.
      assert.ok(isStorageError(error, 'corrupt') || error instanceof TypeError, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), tryDecode));
  fc.assert(
    fc.property(commits, fc.nat(), (commit, cut) => {
      const whole = encode(commit);
      tryDecode(whole.subarray(0, cut % whole.length));
    }),
  );
});

test('the chunks of a segment come back with only the blocks that it touched', () => {
  const memtable = new Memtable();
  const arena = { plain: new Uint8Array(0), sealed: new Uint8Array(0) };
  const segment = new Segment(9, arena, memtable, 0);
  const put = (inode: number, chunk: number, block: number, pointer: number): void => {
    const slot = memtable.ensure(inode, chunk);
    memtable.page(slot)[memtable.mapAt(slot) + block] = pointer;
  };
  put(17, 5, 0, pointerTo(8, 3));
  put(17, 5, 31, pointerTo(9, 0));
  segment.touch(17, 5, 1 << 31);
  put(16, 2 ** 39, 7, pointerTo(9, 1));
  segment.touch(16, 2 ** 39, 1 << 7);
  const commit = {
    type: RECORD_COMMIT,
    epoch: 1,
    segment: 9,
    durableBefore: 1,
    blocks: 2,
    blocksPerFrame: 16,
    frameLengths: [100],
    metas: [],
    chunks: segment.encodeChunks(),
  } as const;
  const seen: string[] = [];
  const decoded = decodeRecord(encode(commit), 'record');
  assert.equal(decoded.type, RECORD_COMMIT);
  if (decoded.type !== RECORD_COMMIT) return;
  forEachChunk(decoded, 'record', (inode, chunk, map) => {
    const set = [...map.entries()].filter(([, pointer]) => pointer !== 0);
    seen.push(`${inode}/${chunk}: ${set.map(([i, p]) => `${i}=${p}`).join(' ')}`);
  });
  assert.deepEqual(seen, [`16/${2 ** 39}: 7=${pointerTo(9, 1)}`, `17/5: 31=${pointerTo(9, 0)}`]);
});

test('a frame table comes back as it was encoded', () => {
  const lengths = fc.array(fc.integer({ min: 20, max: 2 ** 20 }), { minLength: 1, maxLength: 130 });
  fc.assert(
    fc.property(lengths, fc.uint8Array({ minLength: 16, maxLength: 16 }), (sealed, salt) => {
      const table = {
        logNumber: 77,
        dataId: 5,
        cipher: 'aes-256-gcm',
        salt,
        blocks: sealed.length * 16,
        blocksPerFrame: 16,
        offsets: offsetsOf(sealed),
      } as const;
      const value = segmentEntryToBytes(table, 3);
      for (const [bytes, live] of [
        [value, 3],
        [withLiveCount(value, 300), 300],
      ] as const) {
        const reader = new ByteReader(bytes, 'table');
        assert.deepEqual(decodeSegmentEntry(reader), { table, live });
        reader.expectEnd();
      }
    }),
  );
});

test('lengths of frames that no object can have are refused, before memory is taken', () => {
  const entry = (blocks: number, lengths: readonly number[]): ByteReader => {
    const out = new ByteWriter();
    for (const value of [0, 1, 7, 0, 1]) out.varint(value);
    out.bytes(new Uint8Array(16));
    for (const value of [blocks, 1, ...lengths]) out.varint(value);
    return new ByteReader(out.finish(), 'table');
  };
  assert.equal(decodeSegmentEntry(entry(2, [2 ** 32 - 2, 1])).table.offsets[2], 2 ** 32 - 1);
  for (const reader of [entry(2, [2 ** 32 - 1, 1]), entry(1, [2 ** 32]), entry(65_536, [1, 1])]) {
    assert.throws(
      () => decodeSegmentEntry(reader),
      (error) => isStorageError(error, 'corrupt'),
    );
  }
});

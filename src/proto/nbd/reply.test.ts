import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeReply,
  encodeRequest,
  errnoOfChunk,
  takeFrom,
} from '../../../test/nbd/client-codec.ts';
import type { ChunkReply, SimpleReply } from '../../../test/nbd/client-codec.ts';
import { CHUNK } from './constants.ts';
import {
  blockStatusBytes,
  ERROR_CHUNK_BYTES_MAX,
  ERROR_MESSAGE_BYTES_MAX,
  writeBlockStatus,
  writeError,
  writeNone,
  writeOffsetData,
  writeOffsetHole,
  writeSimpleReply,
} from './reply.ts';
import { createRequest, decodeRequest } from './request.ts';
import type { NbdRequest } from './request.ts';

const COOKIE = 0xfedcba9876543210n;
const OFFSET = 0x0001_2345_6789_abcdn;

function requestFor(extended: boolean): NbdRequest {
  const bytes = encodeRequest({ type: 0, cookie: COOKIE, offset: OFFSET }, extended);
  const request = createRequest();
  decodeRequest(new DataView(bytes.buffer, bytes.byteOffset), 0, extended, request);
  return request;
}

/**
 * Writes into a dirty buffer at an odd place, and decodes what is there with the client's codec.
 */
async function roundTrip(
  write: (view: DataView, at: number) => number,
  capacity = 4096,
): Promise<SimpleReply | ChunkReply> {
  const bytes = Buffer.alloc(capacity, 0xee);
  const end = write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 7);
  const take = takeFrom(bytes.subarray(7, end));
  const reply = await decodeReply(take);
  await assert.rejects(take(1), /end early/, 'the writer told its length');
  return reply;
}

function chunkOf(reply: SimpleReply | ChunkReply, extended: boolean): ChunkReply {
  assert.ok(reply.kind === 'chunk');
  assert.equal(reply.cookie, COOKIE);
  assert.equal(reply.offset, extended ? OFFSET : undefined);
  return reply;
}

test('simple replies carry error and cookie', async () => {
  const request = requestFor(false);
  const reply = await roundTrip((view, at) => writeSimpleReply(view, at, request, 75));
  assert.deepEqual(reply, { kind: 'simple', cookie: COOKIE, errno: 75 });
});

for (const extended of [false, true]) {
  const request = requestFor(extended);
  const style = extended ? 'extended' : 'structured';

  test(`${style}: NONE, data headers and holes`, async () => {
    const none = chunkOf(
      await roundTrip((view, at) => writeNone(view, at, request, extended)),
      extended,
    );
    assert.deepEqual([none.type, none.done, none.payload.length], [CHUNK.none, true, 0]);
    const high = 2 ** 45 + 512;
    // Three bytes of data follow the header, as the caller promises.
    const data = chunkOf(
      await roundTrip((v, at) => writeOffsetData(v, at, request, extended, 0, high, 3) + 3),
      extended,
    );
    assert.deepEqual([data.type, data.done, data.payload.length], [CHUNK.offsetData, false, 11]);
    assert.equal(data.payload.readBigUInt64BE(0), BigInt(high));
    const hole = chunkOf(
      await roundTrip((v, at) => writeOffsetHole(v, at, request, extended, 1, high, 2 ** 32 - 1)),
      extended,
    );
    assert.deepEqual([hole.type, hole.done, hole.payload.length], [CHUNK.offsetHole, true, 12]);
    assert.equal(hole.payload.readBigUInt64BE(0), BigInt(high));
    assert.equal(hole.payload.readUInt32BE(8), 2 ** 32 - 1);
  });

  test(`${style}: errors carry any message, cut at a whole character`, async () => {
    const offsets = fc.option(fc.maxSafeNat(), { nil: undefined });
    const texts = fc.string({ unit: 'binary', maxLength: 400 });
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.integer({ min: 1, max: 108 }),
        offsets,
        async (text, errno, at) => {
          const chunk = chunkOf(
            await roundTrip((view, start) => {
              const end = writeError(view, start, request, extended, errno, text, at);
              assert.ok(end - start <= ERROR_CHUNK_BYTES_MAX);
              return end;
            }),
            extended,
          );
          assert.ok(chunk.done);
          assert.equal(chunk.type, at === undefined ? CHUNK.error : CHUNK.errorOffset);
          assert.equal(errnoOfChunk(chunk), errno);
          const bytes = chunk.payload.readUInt16BE(4);
          assert.ok(bytes <= ERROR_MESSAGE_BYTES_MAX);
          const message = chunk.payload.toString('utf8', 6, 6 + bytes);
          assert.ok(Buffer.from(text).toString('utf8').startsWith(message));
          assert.equal(chunk.payload.length, 6 + bytes + (at === undefined ? 0 : 8));
          if (at !== undefined) assert.equal(chunk.payload.readBigUInt64BE(6 + bytes), BigInt(at));
        },
      ),
    );
  });

  test(`${style}: block status descriptors`, async () => {
    const lengths = extended ? fc.maxSafeNat() : fc.nat(2 ** 32 - 1);
    const extent = fc.record({ lengthBytes: lengths, hole: fc.boolean(), zero: fc.boolean() });
    const extents = fc.array(extent, { minLength: 1, maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(extents, async (sent) => {
        const chunk = chunkOf(
          await roundTrip((view, at) => {
            const end = writeBlockStatus(view, at, request, extended, 17, sent);
            assert.equal(end - at, blockStatusBytes(extended, sent.length));
            return end;
          }),
          extended,
        );
        const { payload } = chunk;
        assert.equal(chunk.type, extended ? CHUNK.blockStatusExtended : CHUNK.blockStatus);
        assert.equal(payload.readUInt32BE(0), 17);
        if (extended) assert.equal(payload.readUInt32BE(4), sent.length);
        sent.forEach(({ lengthBytes, hole, zero }, i) => {
          const state = (hole ? 1 : 0) + (zero ? 2 : 0);
          const got = extended
            ? [payload.readBigUInt64BE(8 + i * 16), payload.readBigUInt64BE(16 + i * 16)]
            : [payload.readUInt32BE(4 + i * 8), payload.readUInt32BE(8 + i * 8)];
          assert.deepEqual(got.map(Number), [lengthBytes, state]);
        });
      }),
    );
  });
}

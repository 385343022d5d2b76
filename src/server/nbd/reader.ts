// READ: the reply's data come from the device straight into the buffer that goes to the socket.
//
//   small  (≤ PACKED_READ_BYTES_MAX) header and data in one region of a slab; when the data turn
//          out to be all zeroes and the client speaks chunks, a hole chunk takes their place
//   large  the device is first asked for holes: a range that is one hole needs no read; otherwise
//          the whole range is read once into a pooled buffer, and sent as data and hole chunks that
//          follow the extents
//
// No chunk is written before the device's last call has succeeded, so a reply is either complete or
// one error.

import { CHUNK_FLAG_DONE, COMMAND_FLAG } from '../../proto/nbd/constants.ts';
import {
  chunkHeaderBytes,
  EXTENDED_HEADER_BYTES,
  HOLE_PAYLOAD_BYTES,
  OFFSET_BYTES,
  SIMPLE_REPLY_BYTES,
  writeNone,
  writeOffsetData,
  writeOffsetHole,
  writeSimpleReply,
} from '../../proto/nbd/reply.ts';
import { copyRequest } from '../../proto/nbd/request.ts';
import type { NbdRequest } from '../../proto/nbd/request.ts';
import type { BlockDevice, Extent, Maybe } from '../../volume/block-device.ts';
import type { BufferPool } from './buffer-pool.ts';
import { PACKED_READ_BYTES_MAX, READ_EXTENTS_MAX } from './limits.ts';
import type { ReplyStream, Slab } from './reply-stream.ts';
import type { Session } from './session.ts';

/** Room for the longest header and offset, and for a hole chunk instead of very few data. */
const READ_OVERHEAD_BYTES = EXTENDED_HEADER_BYTES + HOLE_PAYLOAD_BYTES;

const ALL_DATA: readonly Extent[] = [];

export class Reader {
  readonly #device: BlockDevice;
  readonly #stream: ReplyStream;
  readonly #pool: BufferPool;
  readonly #simple: boolean;
  readonly #extended: boolean;
  /** Bytes before the data of an unfragmented reply. */
  readonly #headBytes: number;
  readonly #zeroes = Buffer.alloc(PACKED_READ_BYTES_MAX);

  constructor(session: Session, stream: ReplyStream, pool: BufferPool) {
    this.#device = session.device;
    this.#stream = stream;
    this.#pool = pool;
    this.#simple = session.mode === 'simple';
    this.#extended = session.mode === 'extended';
    this.#headBytes = this.#simple
      ? SIMPLE_REPLY_BYTES
      : chunkHeaderBytes(this.#extended) + OFFSET_BYTES;
  }

  /** Resolves when the reply has been written to the stream; rejects when nothing has. */
  read(request: NbdRequest): Maybe<void> {
    if (request.length === 0) return this.#replyEmpty(request);
    if (request.length <= PACKED_READ_BYTES_MAX) return this.#readSmall(request);
    return this.#readLarge(request);
  }

  #replyEmpty(request: NbdRequest): undefined {
    const stream = this.#stream;
    const at = stream.reserve(EXTENDED_HEADER_BYTES);
    const { view } = stream.slab;
    stream.commit(
      this.#simple
        ? writeSimpleReply(view, at, request, 0)
        : writeNone(view, at, request, this.#extended),
    );
    return undefined;
  }

  #readSmall(request: NbdRequest): Maybe<void> {
    const stream = this.#stream;
    const { length } = request;
    const start = stream.reserve(READ_OVERHEAD_BYTES + length);
    const { slab } = stream;
    const from = start + this.#headBytes;
    const work = this.#device.read(request.offset, slab.bytes.subarray(from, from + length));
    if (work === undefined) {
      stream.commit(this.#encodeSmall(slab, start, request));
      return undefined;
    }
    const region = stream.detach(READ_OVERHEAD_BYTES + length);
    const kept = copyRequest(request);
    return work.then(
      () => stream.attach(region, this.#encodeSmall(slab, start, kept)),
      (error: unknown) => {
        stream.drop(region);
        throw error;
      },
    );
  }

  /** Writes the header before data that are in place. Returns the reply's end. */
  #encodeSmall(slab: Slab, start: number, request: NbdRequest): number {
    const { view } = slab;
    const { length, offset } = request;
    const from = start + this.#headBytes;
    if (this.#simple) {
      writeSimpleReply(view, start, request, 0);
      return from + length;
    }
    // Two looks settle it for nearly all data; only what begins and ends in zeroes is compared in
    // full.
    if (
      slab.bytes[from] === 0 &&
      slab.bytes[from + length - 1] === 0 &&
      slab.bytes.compare(this.#zeroes, 0, length, from, from + length) === 0
    ) {
      return writeOffsetHole(view, start, request, this.#extended, CHUNK_FLAG_DONE, offset, length);
    }
    writeOffsetData(view, start, request, this.#extended, CHUNK_FLAG_DONE, offset, length);
    return from + length;
  }

  #readLarge(request: NbdRequest): Maybe<void> {
    if (this.#simple) return this.#readExtents(request, ALL_DATA);
    const { offset, length } = request;
    const extents = this.#device.blockStatus(offset, length, READ_EXTENTS_MAX);
    if (!(extents instanceof Promise)) return this.#readExtents(request, extents);
    const kept = copyRequest(request);
    return extents.then((value) => this.#readExtents(kept, value));
  }

  #readExtents(request: NbdRequest, extents: readonly Extent[]): Maybe<void> {
    const { offset, length } = request;
    const first = extents[0];
    if (first !== undefined && first.zero && first.lengthBytes >= length) {
      const at = this.#stream.reserve(READ_OVERHEAD_BYTES);
      const { view } = this.#stream.slab;
      const flags = CHUNK_FLAG_DONE;
      this.#stream.commit(
        writeOffsetHole(view, at, request, this.#extended, flags, offset, length),
      );
      return undefined;
    }
    const buffer = this.#pool.take(length);
    const giveBack = (): void => this.#pool.give(buffer);
    const whole = (request.flags & COMMAND_FLAG.dontFragment) !== 0;
    const pieces = whole ? ALL_DATA : extents;
    let work: Maybe<void>;
    try {
      work = this.#device.read(offset, buffer.subarray(0, length));
    } catch (error) {
      giveBack();
      throw error;
    }
    if (work === undefined) {
      this.#sendLarge(request, pieces, buffer, giveBack);
      return undefined;
    }
    const kept = copyRequest(request);
    return work.then(
      () => this.#sendLarge(kept, pieces, buffer, giveBack),
      (error: unknown) => {
        giveBack();
        throw error;
      },
    );
  }

  /**
   * Sends `buffer` in pieces; a range past the last extent is data. The last piece is the last
   * chunk.
   */
  #sendLarge(
    request: NbdRequest,
    extents: readonly Extent[],
    buffer: Buffer,
    giveBack: () => void,
  ): void {
    const { length } = request;
    let done = 0;
    for (const extent of extents) {
      const bytes = Math.min(extent.lengthBytes, length - done);
      if (bytes <= 0) break;
      if (extent.zero) this.#sendHole(request, done, bytes);
      else this.#sendData(request, done, buffer.subarray(done, done + bytes));
      done += bytes;
    }
    if (done < length) this.#sendData(request, done, buffer.subarray(done, length));
    // The stream sends in order, so when the last piece has gone the data before it have gone too.
    this.#stream.whenSent(giveBack);
  }

  #sendHole(request: NbdRequest, at: number, bytes: number): void {
    const start = this.#stream.reserve(READ_OVERHEAD_BYTES);
    const flags = at + bytes === request.length ? CHUNK_FLAG_DONE : 0;
    const offset = request.offset + at;
    const { view } = this.#stream.slab;
    this.#stream.commit(
      writeOffsetHole(view, start, request, this.#extended, flags, offset, bytes),
    );
  }

  #sendData(request: NbdRequest, at: number, data: Uint8Array): void {
    const start = this.#stream.reserve(READ_OVERHEAD_BYTES);
    const { view } = this.#stream.slab;
    const offset = request.offset + at;
    const flags = at + data.length === request.length ? CHUNK_FLAG_DONE : 0;
    this.#stream.commit(
      this.#simple
        ? writeSimpleReply(view, start, request, 0)
        : writeOffsetData(view, start, request, this.#extended, flags, offset, data.length),
    );
    this.#stream.sendOwn(data);
  }
}

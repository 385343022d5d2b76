// Replies of the transmission phase, written into the caller's buffer. Every writer returns the
// offset after what it wrote; the caller has made sure of the room (`*_BYTES` and `headerBytes` say
// how much).
//
//   simple (16)      structured chunk (20 + payload)    extended chunk (32 + payload)
//   u32 magic        u32 magic                          u32 magic
//   u32 error        u16 flags, u16 type                u16 flags, u16 type
//   u64 cookie       u64 cookie                         u64 cookie
//                    u32 payload length                 u64 offset of the request
//                                                       u64 payload length
//
// Payloads: OFFSET_DATA u64 offset, data | OFFSET_HOLE u64 offset, u32 bytes | ERROR u32 errno, u16
// length, message | ERROR_OFFSET the same, then u64 offset | BLOCK_STATUS u32 context, (u32 bytes,
// u32 state)… | BLOCK_STATUS_EXT u32 context, u32 count, (u64 bytes, u64 state)…

import { assert } from '../../base/assert.ts';
import {
  CHUNK,
  CHUNK_FLAG_DONE,
  EXTENDED_REPLY_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STATE_HOLE,
  STATE_ZERO,
  STRUCTURED_REPLY_MAGIC,
} from './constants.ts';
import type { NbdRequest } from './request.ts';

export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_HEADER_BYTES = 20;
export const EXTENDED_HEADER_BYTES = 32;
export const OFFSET_BYTES = 8;
export const HOLE_PAYLOAD_BYTES = 12;
/** A message is for one line on a screen; the protocol would allow 4096. */
export const ERROR_MESSAGE_BYTES_MAX = 512;
/** Room that any error chunk needs: extended header, errno, length, message, offset. */
export const ERROR_CHUNK_BYTES_MAX = EXTENDED_HEADER_BYTES + 6 + ERROR_MESSAGE_BYTES_MAX + 8;

const TWO_32 = 2 ** 32;
const textEncoder = new TextEncoder();

/** Bytes of a chunk's header. */
export function chunkHeaderBytes(extended: boolean): number {
  return extended ? EXTENDED_HEADER_BYTES : STRUCTURED_HEADER_BYTES;
}

function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}

export function writeSimpleReply(
  view: DataView,
  at: number,
  request: NbdRequest,
  errno: number,
): number {
  view.setUint32(at, SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, errno);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  return at + SIMPLE_REPLY_BYTES;
}

export function writeChunkHeader(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
  flags: number,
  type: number,
  payloadBytes: number,
): number {
  view.setUint32(at, extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, flags);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  if (!extended) {
    view.setUint32(at + 16, payloadBytes);
    return at + STRUCTURED_HEADER_BYTES;
  }
  view.setUint32(at + 16, request.offsetHigh);
  view.setUint32(at + 20, request.offsetLow);
  writeU64(view, at + 24, payloadBytes);
  return at + EXTENDED_HEADER_BYTES;
}

/** The final chunk of a request that has nothing to say but success. */
export function writeNone(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
): number {
  return writeChunkHeader(view, at, request, extended, CHUNK_FLAG_DONE, CHUNK.none, 0);
}

/** The header of a data chunk; `dataBytes` bytes of data must follow it on the wire. */
export function writeOffsetData(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
  flags: number,
  offset: number,
  dataBytes: number,
): number {
  const type = CHUNK.offsetData;
  const end = writeChunkHeader(view, at, request, extended, flags, type, OFFSET_BYTES + dataBytes);
  writeU64(view, end, offset);
  return end + OFFSET_BYTES;
}

export function writeOffsetHole(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
  flags: number,
  offset: number,
  holeBytes: number,
): number {
  const type = CHUNK.offsetHole;
  const end = writeChunkHeader(view, at, request, extended, flags, type, HOLE_PAYLOAD_BYTES);
  writeU64(view, end, offset);
  view.setUint32(end + OFFSET_BYTES, holeBytes);
  return end + HOLE_PAYLOAD_BYTES;
}

/**
 * The final chunk of a failed request. With `offset` it says where; that must lie in the request's
 * range.
 */
export function writeError(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
  errno: number,
  message: string,
  offset?: number,
): number {
  assert(errno !== 0, 'an error chunk carries an error');
  const header = chunkHeaderBytes(extended);
  const text = new Uint8Array(view.buffer, view.byteOffset + at + header + 6);
  // encodeInto never splits a character, so a long message ends at a whole one.
  const target = text.subarray(0, Math.min(ERROR_MESSAGE_BYTES_MAX, text.length));
  const messageBytes = textEncoder.encodeInto(message, target).written;
  const type = offset === undefined ? CHUNK.error : CHUNK.errorOffset;
  const payloadBytes = 6 + messageBytes + (offset === undefined ? 0 : OFFSET_BYTES);
  writeChunkHeader(view, at, request, extended, CHUNK_FLAG_DONE, type, payloadBytes);
  view.setUint32(at + header, errno);
  view.setUint16(at + header + 4, messageBytes);
  if (offset !== undefined) writeU64(view, at + header + 6 + messageBytes, offset);
  return at + header + payloadBytes;
}

/** What a block status descriptor says of a run of bytes. */
export interface StatusExtent {
  readonly lengthBytes: number;
  readonly hole: boolean;
  readonly zero: boolean;
}

export function blockStatusBytes(extended: boolean, extentCount: number): number {
  return chunkHeaderBytes(extended) + (extended ? 8 + extentCount * 16 : 4 + extentCount * 8);
}

/** One chunk for one metadata context, the last of its request. `extents` is not empty. */
export function writeBlockStatus(
  view: DataView,
  at: number,
  request: NbdRequest,
  extended: boolean,
  context: number,
  extents: readonly StatusExtent[],
): number {
  assert(extents.length > 0, 'a status chunk has a descriptor');
  const bytes = blockStatusBytes(extended, extents.length) - chunkHeaderBytes(extended);
  const type = extended ? CHUNK.blockStatusExtended : CHUNK.blockStatus;
  let to = writeChunkHeader(view, at, request, extended, CHUNK_FLAG_DONE, type, bytes);
  view.setUint32(to, context);
  to += 4;
  if (extended) {
    view.setUint32(to, extents.length);
    to += 4;
  }
  for (const extent of extents) {
    const state = (extent.hole ? STATE_HOLE : 0) | (extent.zero ? STATE_ZERO : 0);
    if (extended) {
      writeU64(view, to, extent.lengthBytes);
      writeU64(view, to + 8, state);
      to += 16;
    } else {
      view.setUint32(to, extent.lengthBytes);
      view.setUint32(to + 4, state);
      to += 8;
    }
  }
  return to;
}

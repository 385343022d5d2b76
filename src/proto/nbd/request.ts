// Request headers of the transmission phase ("Request message").
//
//   compact (28 bytes)      extended (32 bytes)
//   u32 magic               u32 magic
//   u16 flags, u16 type     u16 flags, u16 type
//   u64 cookie              u64 cookie
//   u64 offset              u64 offset
//   u32 length              u64 length
//
// The cookie is the client's and opaque: two 32-bit halves, copied from request to reply. The
// offset is kept both as a number, for work, and as its halves, because an extended reply must
// repeat it bit for bit. Values past 2^53 lose low bits as numbers; no export is that large, so
// every range check refuses them.

import { EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC } from './constants.ts';

export const REQUEST_BYTES = 28;
export const EXTENDED_REQUEST_BYTES = 32;

const TWO_32 = 2 ** 32;

/** One shape for every request, so that the code which handles it stays monomorphic. */
export interface NbdRequest {
  flags: number;
  type: number;
  cookieHigh: number;
  cookieLow: number;
  offsetHigh: number;
  offsetLow: number;
  offset: number;
  /** Bytes of payload, or of the range that the command is about. */
  length: number;
}

export function createRequest(): NbdRequest {
  return {
    flags: 0,
    type: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh: 0,
    offsetLow: 0,
    offset: 0,
    length: 0,
  };
}

/** A copy that outlives the decoder's reused request. Same fields in the same order. */
export function copyRequest(source: NbdRequest): NbdRequest {
  return {
    flags: source.flags,
    type: source.type,
    cookieHigh: source.cookieHigh,
    cookieLow: source.cookieLow,
    offsetHigh: source.offsetHigh,
    offsetLow: source.offsetLow,
    offset: source.offset,
    length: source.length,
  };
}

export function requestBytes(extended: boolean): number {
  return extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
}

/**
 * Fills `into` from the header at `at`, all of which must be there. False when the magic is wrong.
 */
export function decodeRequest(
  view: DataView,
  at: number,
  extended: boolean,
  into: NbdRequest,
): boolean {
  if (view.getUint32(at) !== (extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC)) return false;
  into.flags = view.getUint16(at + 4);
  into.type = view.getUint16(at + 6);
  into.cookieHigh = view.getUint32(at + 8);
  into.cookieLow = view.getUint32(at + 12);
  const offsetHigh = view.getUint32(at + 16);
  const offsetLow = view.getUint32(at + 20);
  into.offsetHigh = offsetHigh;
  into.offsetLow = offsetLow;
  into.offset = offsetHigh * TWO_32 + offsetLow;
  into.length = extended
    ? view.getUint32(at + 24) * TWO_32 + view.getUint32(at + 28)
    : view.getUint32(at + 24);
  return true;
}

/**
 * The payload of an extended BLOCK_STATUS: a u64 effect length, then u32 ids of metadata contexts.
 */
export interface BlockStatusPayload {
  readonly length: number;
  readonly contexts: readonly number[];
}

export const BLOCK_STATUS_PAYLOAD_BYTES_MIN = 8;

/** Undefined when the length is not 8 + n * 4, or an id comes twice. */
export function decodeBlockStatusPayload(payload: Uint8Array): BlockStatusPayload | undefined {
  if (payload.length < BLOCK_STATUS_PAYLOAD_BYTES_MIN || payload.length % 4 !== 0) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const contexts: number[] = [];
  for (let at = BLOCK_STATUS_PAYLOAD_BYTES_MIN; at < payload.length; at += 4) {
    contexts.push(view.getUint32(at));
  }
  if (new Set(contexts).size !== contexts.length) return undefined;
  return { length: view.getUint32(0) * TWO_32 + view.getUint32(4), contexts };
}

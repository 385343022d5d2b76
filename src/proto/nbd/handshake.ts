// The fixed newstyle handshake ("Handshake", "Fixed newstyle negotiation").
//
//   server: u64 'NBDMAGIC', u64 'IHAVEOPT', u16 handshake flags
//   client: u32 client flags
//   client: u64 'IHAVEOPT', u32 option, u32 length, data               again and again
//   server: u64 reply magic, u32 option, u32 type, u32 length, data    one or more for each option
//
// EXPORT_NAME alone is answered without that frame: u64 size, u16 transmission flags, and 124
// zeroes unless both sides agreed to leave them out.

import { GREETING_MAGIC, HANDSHAKE_FLAG, OPTION_MAGIC, OPTION_REPLY_MAGIC } from './constants.ts';

export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
const EXPORT_NAME_PADDING_BYTES = 124;

const TWO_32 = 2 ** 32;
const KNOWN_FLAGS = HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function encodeGreeting(): Uint8Array {
  const out = new Uint8Array(18);
  const view = viewOf(out);
  view.setUint32(0, GREETING_MAGIC[0]);
  view.setUint32(4, GREETING_MAGIC[1]);
  view.setUint32(8, OPTION_MAGIC[0]);
  view.setUint32(12, OPTION_MAGIC[1]);
  view.setUint16(16, KNOWN_FLAGS);
  return out;
}

export interface ClientFlags {
  readonly noZeroes: boolean;
}

/** Undefined when a bit is set that we do not know: the server must then drop the connection. */
export function decodeClientFlags(bytes: Uint8Array): ClientFlags | undefined {
  const flags = viewOf(bytes).getUint32(0);
  if ((flags & ~KNOWN_FLAGS) !== 0) return undefined;
  return { noZeroes: (flags & HANDSHAKE_FLAG.noZeroes) !== 0 };
}

export interface OptionHeader {
  readonly option: number;
  readonly dataBytes: number;
}

/** Undefined when the magic is wrong: the stream has lost its frame. */
export function decodeOptionHeader(bytes: Uint8Array): OptionHeader | undefined {
  const view = viewOf(bytes);
  if (view.getUint32(0) !== OPTION_MAGIC[0] || view.getUint32(4) !== OPTION_MAGIC[1]) {
    return undefined;
  }
  return { option: view.getUint32(8), dataBytes: view.getUint32(12) };
}

export function encodeOptionReply(option: number, type: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(OPTION_REPLY_HEADER_BYTES + data.length);
  const view = viewOf(out);
  view.setUint32(0, OPTION_REPLY_MAGIC[0]);
  view.setUint32(4, OPTION_REPLY_MAGIC[1]);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, data.length);
  out.set(data, OPTION_REPLY_HEADER_BYTES);
  return out;
}

export function encodeExportNameReply(
  sizeBytes: number,
  flags: number,
  noZeroes: boolean,
): Uint8Array {
  const out = new Uint8Array(10 + (noZeroes ? 0 : EXPORT_NAME_PADDING_BYTES));
  const view = viewOf(out);
  view.setUint32(0, Math.floor(sizeBytes / TWO_32));
  view.setUint32(4, sizeBytes % TWO_32);
  view.setUint16(8, flags);
  return out;
}

// The client's side of the wire format, for tests and the fuzzer: encodes what clients send,
// decodes what servers reply. Written from the specification, apart from the server's codecs, so
// that the two check each other.

import {
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REQUEST_MAGIC,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../../src/proto/nbd/constants.ts';

export interface ClientRequest {
  readonly type: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: number | bigint;
  readonly length?: number | bigint;
  readonly magic?: number;
}

export function encodeRequest(request: ClientRequest, extended = false): Buffer {
  const out = Buffer.alloc(extended ? 32 : 28);
  const magic = request.magic ?? (extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC);
  out.writeUInt32BE(magic, 0);
  out.writeUInt16BE(request.flags ?? 0, 4);
  out.writeUInt16BE(request.type, 6);
  out.writeBigUInt64BE(request.cookie ?? 0n, 8);
  out.writeBigUInt64BE(BigInt(request.offset ?? 0), 16);
  if (extended) out.writeBigUInt64BE(BigInt(request.length ?? 0), 24);
  else out.writeUInt32BE(Number(request.length ?? 0), 24);
  return out;
}

export function encodeOption(option: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([encodeOptionHeader(option, data.length), data]);
}

export function encodeOptionHeader(option: number, dataBytes: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt32BE(OPTION_MAGIC[0], 0);
  out.writeUInt32BE(OPTION_MAGIC[1], 4);
  out.writeUInt32BE(option, 8);
  out.writeUInt32BE(dataBytes, 12);
  return out;
}

export function encodeClientFlags(flags: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(flags);
  return out;
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
}

/** Data of INFO and GO. */
export function infoData(name: string, infos: readonly number[] = []): Buffer {
  return Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)]);
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function contextData(name: string, queries: readonly string[]): Buffer {
  return Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]);
}

/** Payload of an extended BLOCK_STATUS. */
export function statusPayload(length: number, contexts: readonly number[]): Buffer {
  const effect = Buffer.alloc(8);
  effect.writeBigUInt64BE(BigInt(length));
  return Buffer.concat([effect, ...contexts.map(u32)]);
}

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

/** Takes exactly `bytes` from the server's stream. */
export type Take = (bytes: number) => Promise<Buffer>;

export async function decodeOptionReply(take: Take): Promise<OptionReply> {
  const header = await take(20);
  if (
    header.readUInt32BE(0) !== OPTION_REPLY_MAGIC[0] ||
    header.readUInt32BE(4) !== OPTION_REPLY_MAGIC[1]
  ) {
    throw new Error('an option reply without its magic');
  }
  const data = await take(header.readUInt32BE(16));
  return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data };
}

export interface SimpleReply {
  readonly kind: 'simple';
  readonly cookie: bigint;
  readonly errno: number;
}

export interface ChunkReply {
  readonly kind: 'chunk';
  readonly cookie: bigint;
  readonly done: boolean;
  readonly type: number;
  /** The request's offset, which extended headers repeat. */
  readonly offset: bigint | undefined;
  readonly payload: Buffer;
}

/** The data of a simple reply to READ follow it; the caller knows how many and takes them. */
export async function decodeReply(take: Take): Promise<SimpleReply | ChunkReply> {
  const head = await take(16);
  const magic = head.readUInt32BE(0);
  const cookie = head.readBigUInt64BE(8);
  if (magic === SIMPLE_REPLY_MAGIC) {
    return { kind: 'simple', cookie, errno: head.readUInt32BE(4) };
  }
  const extended = magic === EXTENDED_REPLY_MAGIC;
  if (!extended && magic !== STRUCTURED_REPLY_MAGIC) throw new Error('a reply without its magic');
  const rest = await take(extended ? 16 : 4);
  return {
    kind: 'chunk',
    cookie,
    done: head.readUInt16BE(4) === 1,
    type: head.readUInt16BE(6),
    offset: extended ? rest.readBigUInt64BE(0) : undefined,
    payload: await take(extended ? Number(rest.readBigUInt64BE(8)) : rest.readUInt32BE(0)),
  };
}

/** A Take over bytes at hand; running out is an error. */
export function takeFrom(bytes: Buffer): Take {
  let at = 0;
  return async (count) => {
    if (at + count > bytes.length) throw new Error('the replies end early');
    at += count;
    return bytes.subarray(at - count, at);
  };
}

/** Error number of an error chunk. */
export function errnoOfChunk(chunk: ChunkReply): number {
  return chunk.payload.readUInt32BE(0);
}

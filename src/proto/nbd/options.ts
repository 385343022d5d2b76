// The data of handshake options and of their replies ("Option types", "Option reply types").
//
//   INFO, GO            u32 name length, name, u16 count, count × u16 information type
//   *_META_CONTEXT      u32 name length, name, u32 count, count × (u32 length, query)
//   REP_SERVER          u32 name length, name, description
//   REP_INFO            u16 type, then EXPORT u64 size, u16 flags | NAME text | DESCRIPTION text |
//                       BLOCK_SIZE u32 minimum, u32 preferred, u32 largest payload
//   REP_META_CONTEXT    u32 id, name
//
// Decoders throw StorageError `invalid` on anything that does not fit; they allocate no more than
// their input.

import { StorageError } from '../../base/errors.ts';
import {
  BLOCK_BYTES_MIN,
  BLOCK_BYTES_PREFERRED,
  CONTEXT_BASE_ALLOCATION,
  INFO,
  PAYLOAD_BYTES_MAX,
  STRING_BYTES_MAX,
} from './constants.ts';

const TWO_32 = 2 ** 32;
const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads option data front to back. */
class OptionReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) {
      throw new StorageError('invalid', 'the option data end early');
    }
    this.#at += count;
    return at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  text(): string {
    const length = this.u32();
    const at = this.#take(length);
    return decodeText(this.#bytes.subarray(at, at + length));
  }

  expectEnd(): void {
    if (this.#at !== this.#bytes.length) {
      throw new StorageError('invalid', 'the option data go on past their end');
    }
  }
}

/** A protocol string: UTF-8 without NUL, at most 4096 bytes. Throws `invalid`. */
export function decodeText(bytes: Uint8Array): string {
  if (bytes.length > STRING_BYTES_MAX) throw new StorageError('invalid', 'a string is too long');
  if (bytes.includes(0)) throw new StorageError('invalid', 'a string holds a NUL');
  try {
    return textDecoder.decode(bytes);
  } catch (error) {
    throw new StorageError('invalid', 'a string is not UTF-8', { cause: error });
  }
}

export interface InfoOption {
  readonly name: string;
  readonly infos: ReadonlySet<number>;
}

export function decodeInfoOption(data: Uint8Array): InfoOption {
  const reader = new OptionReader(data);
  const name = reader.text();
  const count = reader.u16();
  const infos = new Set<number>();
  for (let i = 0; i < count; i++) infos.add(reader.u16());
  reader.expectEnd();
  return { name, infos };
}

export interface MetaContextOption {
  readonly name: string;
  readonly queries: readonly string[];
}

export function decodeMetaContextOption(data: Uint8Array): MetaContextOption {
  const reader = new OptionReader(data);
  const name = reader.text();
  const count = reader.u32();
  const queries: string[] = [];
  // A count that lies runs into the end of the data, so it needs no limit of its own.
  for (let i = 0; i < count; i++) {
    const query = reader.text();
    if (query.indexOf(':') < 1) {
      throw new StorageError('invalid', 'a metadata query has no namespace');
    }
    queries.push(query);
  }
  reader.expectEnd();
  return { name, queries };
}

/** LIST: no query, or the wildcard `base:`, or the name itself. Other namespaces are ignored. */
export function listsBaseAllocation(queries: readonly string[]): boolean {
  return queries.length === 0 || queries.includes('base:') || setsBaseAllocation(queries);
}

/** SET: the name itself, never a wildcard. */
export function setsBaseAllocation(queries: readonly string[]): boolean {
  return queries.includes(CONTEXT_BASE_ALLOCATION);
}

/** Cuts at a whole character so that the result obeys the protocol's limit for strings. */
function encodeText(text: string): Uint8Array {
  const bytes = textEncoder.encode(text);
  if (bytes.length <= STRING_BYTES_MAX) return bytes;
  const cut = new Uint8Array(STRING_BYTES_MAX);
  return cut.subarray(0, textEncoder.encodeInto(text, cut).written);
}

export function encodeServerEntry(name: string, description: string): Uint8Array {
  const nameBytes = encodeText(name);
  const descriptionBytes = encodeText(description);
  const out = new Uint8Array(4 + nameBytes.length + descriptionBytes.length);
  new DataView(out.buffer).setUint32(0, nameBytes.length);
  out.set(nameBytes, 4);
  out.set(descriptionBytes, 4 + nameBytes.length);
  return out;
}

export function encodeExportInfo(sizeBytes: number, flags: number): Uint8Array {
  const out = new Uint8Array(12);
  const view = new DataView(out.buffer);
  view.setUint16(0, INFO.export);
  view.setUint32(2, Math.floor(sizeBytes / TWO_32));
  view.setUint32(6, sizeBytes % TWO_32);
  view.setUint16(10, flags);
  return out;
}

/** NAME or DESCRIPTION information. */
export function encodeTextInfo(type: number, text: string): Uint8Array {
  const bytes = encodeText(text);
  const out = new Uint8Array(2 + bytes.length);
  new DataView(out.buffer).setUint16(0, type);
  out.set(bytes, 2);
  return out;
}

export function encodeBlockSizeInfo(): Uint8Array {
  const out = new Uint8Array(14);
  const view = new DataView(out.buffer);
  view.setUint16(0, INFO.blockSize);
  view.setUint32(2, BLOCK_BYTES_MIN);
  view.setUint32(6, BLOCK_BYTES_PREFERRED);
  view.setUint32(10, PAYLOAD_BYTES_MAX);
  return out;
}

export function encodeMetaContext(id: number, name: string): Uint8Array {
  const bytes = encodeText(name);
  const out = new Uint8Array(4 + bytes.length);
  new DataView(out.buffer).setUint32(0, id);
  out.set(bytes, 4);
  return out;
}

/** An error reply's data: a message for people. */
export function encodeMessage(message: string): Uint8Array {
  return encodeText(message);
}

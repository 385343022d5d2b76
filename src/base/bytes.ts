// Integers up to 2^53-1 in bytes: fixed little-endian fields, sortable big-endian key parts,
// varints (LEB128). Two 32-bit halves instead of a bigint: four times cheaper, and every value is
// range-checked on decode.

import { assert } from './assert.ts';
import { StorageError } from './errors.ts';

const TWO_32 = 2 ** 32;

/** Reads a u64, little-endian. Ending early, or a value past 2^53-1, is `corrupt`. */
export function readU53LE(view: DataView, at: number): number {
  if (at + 8 > view.byteLength) throw new StorageError('corrupt', 'integer ends early');
  const value = view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true);
  if (value > Number.MAX_SAFE_INTEGER) throw new StorageError('corrupt', 'integer past 2^53-1');
  return value;
}

export function writeU53LE(view: DataView, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a u53 is an integer in [0, 2^53)');
  view.setUint32(at, value % TWO_32, true);
  view.setUint32(at + 4, Math.floor(value / TWO_32), true);
}

/** Writes `value` in `width` bytes, most significant first, so that bytes sort as numbers do. */
export function writeSortable(out: Uint8Array, at: number, value: number, width: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a key part is an integer in [0, 2^53)');
  assert(at + width <= out.length, 'a key part lies in its buffer');
  let rest = value;
  for (let i = width - 1; i >= 0; i--) {
    out[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  assert(rest === 0, 'a key part fits its width');
}

/** Reads what `writeSortable` wrote. Ending early, or a value past 2^53-1, is `corrupt`. */
export function readSortable(bytes: Uint8Array, at: number, width: number): number {
  if (at + width > bytes.length) throw new StorageError('corrupt', 'key part ends early');
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + bytes[at + i]!;
  if (value > Number.MAX_SAFE_INTEGER) throw new StorageError('corrupt', 'key part past 2^53-1');
  return value;
}

/** A growing output buffer. `finish` hands out an owned copy of exactly what was written. */
export class ByteWriter {
  #bytes: Uint8Array;
  length = 0;

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity);
  }

  #reserve(count: number): void {
    const need = this.length + count;
    if (need <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  /** LEB128, at most 8 bytes for values up to 2^53-1. */
  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a varint is an integer in [0, 2^53)');
    this.#reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  bytes(source: Uint8Array): void {
    this.#reserve(source.length);
    this.#bytes.set(source, this.length);
    this.length += source.length;
  }

  /** A varint length, then the bytes. */
  lengthPrefixed(source: Uint8Array): void {
    this.varint(source.length);
    this.bytes(source);
  }

  text(source: string): void {
    this.lengthPrefixed(textEncoder.encode(source));
  }

  /** Borrowed view of what was written so far, valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  reset(): void {
    this.length = 0;
  }
}

/** Reads what ByteWriter wrote. Running past the end, or an overlong integer, is `corrupt`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  offset = 0;

  /** `what` names the structure in error messages. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get remaining(): number {
    return this.#bytes.length - this.offset;
  }

  #need(count: number): void {
    if (count > this.remaining) throw this.corrupt('ends early');
  }

  corrupt(why: string): StorageError {
    return new StorageError('corrupt', `${this.#what} ${why} (at byte ${this.offset})`);
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.offset++]!;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) throw this.corrupt('has an integer past 2^53-1');
        return value;
      }
      scale *= 128;
    }
    throw this.corrupt('has an overlong integer');
  }

  /** A varint that counts things that follow, each at least `bytesEach` long: bounds allocation. */
  count(bytesEach = 1): number {
    const value = this.varint();
    if (value * bytesEach > this.remaining) throw this.corrupt('has a count past its end');
    return value;
  }

  /** Borrowed view. */
  bytes(count: number): Uint8Array {
    this.#need(count);
    this.offset += count;
    return this.#bytes.subarray(this.offset - count, this.offset);
  }

  lengthPrefixed(): Uint8Array {
    return this.bytes(this.varint());
  }

  text(): string {
    const bytes = this.lengthPrefixed();
    try {
      return textDecoder.decode(bytes);
    } catch (cause) {
      throw new StorageError('corrupt', `${this.#what} has text that is not UTF-8`, { cause });
    }
  }

  expectEnd(): void {
    if (this.remaining !== 0) throw this.corrupt('has bytes past its end');
  }
}

const textEncoder = new TextEncoder();
// ignoreBOM keeps a leading U+FEFF: a name must come back as it was written.
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Byte order of keys: like memcmp, a prefix sorts first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

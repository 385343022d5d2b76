// Makes new inputs from old ones. Every change is a replacement of some bytes at one place; a few
// are stacked, mostly one to four.

import type { Rng } from '../src/base/rng.ts';

/** Where integers break: signs, widths, our own limits (docs/formats). */
const INTERESTING = [
  0,
  1,
  2,
  3,
  4,
  15,
  16,
  31,
  32,
  63,
  64,
  127,
  128,
  255,
  256,
  4095,
  4096,
  32_767,
  32_768,
  65_535,
  65_536,
  2 ** 24 - 1,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 37 - 1,
  2 ** 37,
  2 ** 40,
  2 ** 48 - 1,
  2 ** 48,
  2 ** 53 - 1,
];
/** Eight bytes that go past 2^53, and nine that go on: no reader may follow. */
const BAD_VARINTS = [
  Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127),
  Uint8Array.of(128, 128, 128, 128, 128, 128, 128, 128, 1),
  Uint8Array.of(128, 0),
];
const WIDTHS = [1, 2, 4, 8];
const NOTHING = new Uint8Array(0);
const INSERTED_BYTES_MAX = 32;
const COPIED_BYTES_MAX = 256;

export class Mutator {
  readonly #rng: Rng;
  readonly #bytesMax: number;
  readonly #words: readonly Uint8Array[];
  readonly #scratch: Uint8Array;
  #length = 0;

  constructor(rng: Rng, bytesMax: number, words: readonly string[] = []) {
    this.#rng = rng;
    this.#bytesMax = bytesMax;
    this.#words = words.map((word) => new TextEncoder().encode(word));
    this.#scratch = new Uint8Array(bytesMax);
  }

  /** An owned input, made from `source`; `other` may lend it parts. */
  mutate(source: Uint8Array, other: Uint8Array): Uint8Array {
    this.#length = Math.min(source.length, this.#bytesMax);
    this.#scratch.set(source.length > this.#length ? source.subarray(0, this.#length) : source);
    let changes = 1;
    while (changes < 16 && this.#rng.float() < 0.5) changes *= 2;
    for (let i = 0; i < changes; i++) this.#change(other);
    return this.#scratch.slice(0, this.#length);
  }

  #below(max: number): number {
    return Math.floor(this.#rng.float() * max);
  }

  /** A stretch of `bytes`: where it begins and how long it is. */
  #stretch(length: number, max: number): readonly [at: number, bytes: number] {
    const at = this.#below(length + 1);
    return [at, Math.min(length - at, 1 + this.#below(max))];
  }

  #change(other: Uint8Array): void {
    const at = this.#below(this.#length + 1);
    const inside = at < this.#length;
    switch (this.#below(this.#words.length > 0 ? 16 : 13)) {
      case 0:
      case 1:
        if (inside) this.#scratch[at]! ^= 1 << this.#below(8);
        return;
      case 2:
        if (inside) this.#scratch[at] = this.#below(256);
        return;
      case 3:
        if (inside) this.#scratch[at]! += this.#below(33) - 16;
        return;
      case 4:
      case 5:
        this.#putInteger(at);
        return;
      case 6:
      case 7:
        this.#putVarint(at);
        return;
      case 8:
        this.#replace(at, 1 + this.#below(COPIED_BYTES_MAX), NOTHING);
        return;
      case 9:
        this.#replace(at, 0, this.#inserted());
        return;
      case 10:
        this.#copyOwn(at);
        return;
      case 11:
        this.#copyOther(at, other);
        return;
      case 12:
        // Rarer than the others: the first leaves little, the second much.
        if (this.#below(4) === 0) this.#length = at;
        else if (this.#below(32) === 0) this.#repeat();
        else if (inside) this.#scratch[at] = this.#scratch[this.#below(this.#length)]!;
        return;
      default: {
        const word = this.#words[this.#below(this.#words.length)]!;
        this.#replace(at, this.#below(2) * word.length, word);
      }
    }
  }

  /** Everything after `at + removed` moves; what no longer fits is lost. */
  #replace(at: number, removed: number, inserted: Uint8Array): void {
    const rest = Math.min(this.#length, at + removed);
    const room = this.#bytesMax - at;
    const to = at + Math.min(inserted.length, room);
    const kept = Math.max(0, Math.min(this.#length - rest, this.#bytesMax - to));
    if (to !== rest) this.#scratch.copyWithin(to, rest, rest + kept);
    this.#scratch.set(inserted.length > room ? inserted.subarray(0, room) : inserted, at);
    this.#length = to + kept;
  }

  #inserted(): Uint8Array {
    const length = 1 + this.#below(INSERTED_BYTES_MAX);
    return this.#below(2) === 0
      ? new Uint8Array(length).fill(this.#below(256))
      : this.#rng.bytes(length);
  }

  #interesting(): number {
    const value = INTERESTING[this.#below(INTERESTING.length)]!;
    return this.#below(4) === 0 ? Math.min(value + this.#below(4), 2 ** 53 - 1) : value;
  }

  /** A fixed-width integer, either way round; it may hang over the end. */
  #putInteger(at: number): void {
    const width = WIDTHS[this.#below(WIDTHS.length)]!;
    const bytes = new Uint8Array(width);
    let rest = this.#interesting();
    for (let i = 0; i < width; i++) {
      bytes[i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    if (this.#below(2) === 0) bytes.reverse();
    this.#replace(at, width, bytes);
  }

  /** In place of the varint that begins at `at`, if one does. */
  #putVarint(at: number): void {
    let end = at;
    while (end < this.#length && end < at + 8 && this.#scratch[end]! >= 128) end += 1;
    this.#replace(at, end + 1 - at, this.#varint());
  }

  #varint(): Uint8Array {
    if (this.#below(16) === 0) return BAD_VARINTS[this.#below(BAD_VARINTS.length)]!;
    const bytes: number[] = [];
    let rest = this.#below(3) === 0 ? this.#below(1 << this.#below(20)) : this.#interesting();
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
    return Uint8Array.from(bytes);
  }

  #copyOwn(at: number): void {
    const [from, bytes] = this.#stretch(this.#length, COPIED_BYTES_MAX);
    const part = this.#scratch.slice(from, from + bytes);
    this.#replace(at, this.#below(2) * bytes, part);
  }

  #copyOther(at: number, other: Uint8Array): void {
    if (this.#below(4) === 0) {
      // A splice: the rest is the other's.
      const from = this.#below(2) === 0 ? at : this.#below(other.length + 1);
      this.#replace(at, this.#length, other.subarray(from));
      return;
    }
    const [from, bytes] = this.#stretch(other.length, COPIED_BYTES_MAX);
    this.#replace(at, this.#below(2) * bytes, other.subarray(from, from + bytes));
  }

  /** One part again and again, up to the limit: finds work that grows with the square. */
  #repeat(): void {
    const [at, bytes] = this.#stretch(this.#length, INSERTED_BYTES_MAX);
    if (bytes === 0) return;
    const part = this.#scratch.slice(at, at + bytes);
    const tail = this.#scratch.slice(at + bytes, this.#length);
    let end = at;
    while (end + bytes + tail.length <= this.#bytesMax) {
      this.#scratch.set(part, end);
      end += bytes;
    }
    this.#length = end;
    this.#replace(end, 0, tail);
  }
}

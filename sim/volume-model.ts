// What one volume must hold, as one writer's clients know it.
//
//   bytes      the newest content, operations that are under way included
//   histories  per sector of 512 bytes, the versions since the writer opened, over `baseKeys`
//   locks      ranges that operations under way use: a sector is written by one at a time, and not
//              read meanwhile
//
// Sectors are smaller than the engine's blocks on purpose: two clients may write different parts of
// one block.

import { assert } from '../src/base/assert.ts';
import { type History, keyOf, type Operation, type Version } from './history.ts';

export const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;

export interface VolumeContent {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** One for each sector. */
  readonly keys: Int32Array;
}

export interface Lock {
  readonly from: number;
  readonly to: number;
  readonly exclusive: boolean;
}

export class VolumeModel {
  readonly name: string;
  bytes: Uint8Array<ArrayBuffer>;
  #words: Int32Array;
  baseKeys: Int32Array;
  readonly histories: Version[][] = [];
  /** Versions of the size over `baseSize`; −1 is: no such volume. */
  readonly sizes: Version[] = [];
  readonly baseSize: number;
  /** What clients may use: the newest size that was acknowledged. */
  usableBytes: number;
  readonly #locks = new Set<Lock>();

  /** `content` is owned; a `baseSize` of −1 says that the volume is being created. */
  constructor(name: string, content: VolumeContent, baseSize: number) {
    this.name = name;
    this.bytes = content.bytes;
    this.#words = new Int32Array(content.bytes.buffer);
    this.baseKeys = content.keys;
    this.baseSize = baseSize;
    this.usableBytes = Math.max(0, baseSize);
  }

  get sectors(): number {
    return this.bytes.length / SECTOR_BYTES;
  }

  /** Room for a larger size; what is new was always zero. */
  growTo(sizeBytes: number): void {
    if (sizeBytes <= this.bytes.length) return;
    const grown = new Uint8Array(sizeBytes);
    grown.set(this.bytes);
    const { keys } = zeroContent(sizeBytes);
    keys.set(this.baseKeys);
    this.bytes = grown;
    this.#words = new Int32Array(grown.buffer);
    this.baseKeys = keys;
  }

  /** Undefined when the range is in use. Bytes; widened to sectors. */
  tryLock(offset: number, length: number, exclusive: boolean): Lock | undefined {
    const from = Math.floor(offset / SECTOR_BYTES);
    const to = Math.ceil((offset + length) / SECTOR_BYTES);
    for (const other of this.#locks) {
      const apart = other.to <= from || to <= other.from;
      if (!apart && (exclusive || other.exclusive)) return undefined;
    }
    const lock = { from, to, exclusive };
    this.#locks.add(lock);
    return lock;
  }

  unlock(lock: Lock): void {
    assert(this.#locks.delete(lock), 'a lock is released once');
  }

  /** Notes a change by an operation that has just begun. Its range is locked. */
  change(by: Operation, offset: number, content: Uint8Array): void {
    this.bytes.set(content, offset);
    const end = Math.ceil((offset + content.length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < end; sector++) {
      const from = sector * SECTOR_WORDS;
      const version = { key: keyOf(this.#words, from, from + SECTOR_WORDS), by };
      const history = this.histories[sector];
      if (history === undefined) this.histories[sector] = [version];
      else history.push(version);
    }
  }

  historyOf(sector: number): History {
    return this.histories[sector];
  }
}

export function zeroContent(sizeBytes: number): VolumeContent {
  const keys = new Int32Array(sizeBytes / SECTOR_BYTES);
  keys.fill(keyOf(new Int32Array(SECTOR_WORDS), 0, SECTOR_WORDS));
  return { bytes: new Uint8Array(sizeBytes), keys };
}

/** Bytes that own their buffer, with the keys of all sectors. */
export function contentOf(bytes: Uint8Array<ArrayBuffer>): VolumeContent {
  assert(bytes.byteOffset === 0 && bytes.length % SECTOR_BYTES === 0, 'whole, aligned sectors');
  const words = new Int32Array(bytes.buffer, 0, bytes.length / 4);
  const keys = new Int32Array(bytes.length / SECTOR_BYTES);
  for (let i = 0; i < keys.length; i++) {
    keys[i] = keyOf(words, i * SECTOR_WORDS, (i + 1) * SECTOR_WORDS);
  }
  return { bytes, keys };
}

// One table as its readers see it. Opening costs nothing: the tail is fetched when it is first
// needed, by one ranged GET whose size the manifest knows, and then lives in the block cache like
// any block.
//
//   get:     filter → index → block; no promise when tail and block are cached, at most two GETs
//            when not.
//   cursor:  table-cursor.ts.
//   preload: the whole table into the cache, by GETs of settings.preloadBytes.
//
// Every answer comes from authenticated bytes: damage anywhere gives `corrupt`, naming the object.

import { StorageError, isStorageError } from '../../base/errors.ts';
import { FrameKind, openFrame } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectStore, RequestOptions } from '../../objectstore/object-store.ts';
import type { BlockCache, TableSlots } from './block-cache.ts';
import { Block } from './block.ts';
import { hashKey } from './bloom.ts';
import type { KeyHash } from './bloom.ts';
import type { TableDescriptor } from './descriptor.ts';
import type { Maybe } from '../../base/maybe.ts';
import type { TableSettings } from './settings.ts';
import { decodeTail, plain } from './tail.ts';
import type { TableTail } from './tail.ts';

export interface TableReaderDeps {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly sealer: Sealer;
  readonly cache: BlockCache;
}

const LOOKUP: RequestOptions = { cause: 'lookup' };

/** `objectName` is the key under which the table lies in the store. */
export function openTable(
  deps: TableReaderDeps,
  settings: TableSettings,
  descriptor: TableDescriptor,
  objectName: string,
): Table {
  return new Table(deps, settings, descriptor, objectName);
}

export class Table {
  readonly descriptor: TableDescriptor;
  readonly objectName: string;
  readonly settings: TableSettings;
  readonly slots: TableSlots;
  readonly #deps: TableReaderDeps;

  constructor(
    deps: TableReaderDeps,
    settings: TableSettings,
    descriptor: TableDescriptor,
    objectName: string,
  ) {
    this.#deps = deps;
    this.settings = settings;
    this.descriptor = descriptor;
    this.objectName = objectName;
    this.slots = deps.cache.slotsOf(descriptor.id);
  }

  /**
   * The value of `key`: a view of a cached block, never to be changed, and to be copied if it is
   * kept long. Throws or rejects with `corrupt`, or with what the store says. `key` is borrowed
   * until the call settles. `hash` is `hashKey` of it, for callers that ask several tables.
   */
  get(
    key: Uint8Array,
    hash: KeyHash = hashKey(key, { line: 0, bits: 0 }),
  ): Maybe<Uint8Array | undefined> {
    const tail = this.slots.tail();
    if (tail === undefined) return this.#getCold(key, hash);
    return this.#getWith(tail, key, hash);
  }

  /** Loads filter and index if they are not cached. The load is shared, so no signal can end it. */
  tail(cause: 'open' | 'lookup'): Maybe<TableTail> {
    return this.slots.tail() ?? this.slots.loadTail(() => this.readTail({ cause }));
  }

  /** Brings the whole table into the cache; the caller sees to it that the budget has room. */
  async preload(options: RequestOptions): Promise<void> {
    const { bytes, tailBytes } = this.descriptor;
    const start = Math.max(0, bytes - Math.max(this.settings.preloadBytes, tailBytes));
    const end = await this.#readRange(start, bytes, options);
    const tail = this.#decodeTail(end.subarray(end.length - tailBytes));
    this.slots.keepTail(tail);
    const { index } = tail;
    let wholeFrom = index.blockCount;
    while (wholeFrom > 0 && index.sealedStart(wholeFrom - 1) >= start) wholeFrom -= 1;
    await this.#keepBlocks(tail, wholeFrom, index.blockCount, end, start);
    for (let first = 0; first < wholeFrom;) {
      const next = pieceEnd(tail, first, wholeFrom, this.settings.preloadBytes, Infinity);
      const from = index.sealedStart(first);
      const piece = await this.#readRange(from, index.sealedEnd(next - 1), options);
      await this.#keepBlocks(tail, first, next, piece, from);
      first = next;
    }
  }

  /** Reads and decodes the tail, past the cache. */
  async readTail(options: RequestOptions): Promise<TableTail> {
    const { bytes, tailBytes } = this.descriptor;
    return this.#decodeTail(await this.#readRange(bytes - tailBytes, bytes, options));
  }

  /** Reads blocks [first, end) by one GET, past the cache. They are views of one buffer. */
  async readBlocks(
    tail: TableTail,
    first: number,
    end: number,
    options: RequestOptions,
  ): Promise<Block[]> {
    const start = tail.index.sealedStart(first);
    const sealed = await this.#readRange(start, tail.index.sealedEnd(end - 1), options);
    return this.#unseal(tail, first, end, sealed, start);
  }

  #decodeTail(bytes: Uint8Array): TableTail {
    return decodeTail(bytes, this.descriptor, this.objectName, this.#deps.keyring);
  }

  async #getCold(key: Uint8Array, hash: KeyHash): Promise<Uint8Array | undefined> {
    const tail = await this.slots.loadTail(() => this.readTail(LOOKUP));
    return this.#getWith(tail, key, hash);
  }

  #getWith(tail: TableTail, key: Uint8Array, hash: KeyHash): Maybe<Uint8Array | undefined> {
    if (!tail.filter.mayContain(hash)) return undefined;
    const index = tail.index.find(key);
    const block = this.slots.block(index);
    if (block !== undefined) return block.get(key);
    return this.#getFromStore(tail, index, key);
  }

  async #getFromStore(
    tail: TableTail,
    index: number,
    key: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const block = await this.slots.loadBlock(index, () => this.#readBlock(tail, index));
    return block.get(key);
  }

  /** One block, which owns its bytes. So small a frame is opened here and not by a worker. */
  async #readBlock(tail: TableTail, index: number): Promise<Block> {
    const start = tail.index.sealedStart(index);
    const sealed = await this.#readRange(start, tail.index.sealedEnd(index), LOOKUP);
    const bytesMax = tail.index.plainBytes(index);
    const bytes = openFrame(tail.seal, FrameKind.tableBlock, index, sealed, bytesMax);
    if (bytes.length !== bytesMax) throw this.#corrupt('has a block of another length');
    return new Block(plain(bytes), this.objectName);
  }

  async #readRange(start: number, end: number, options: RequestOptions): Promise<Uint8Array> {
    const { objectName } = this;
    let got;
    try {
      got = await this.#deps.store.get(objectName, { start, end }, options);
    } catch (error) {
      // The range is inside the object that the manifest names: this one must have been cut short.
      if (isStorageError(error, 'invalid')) throw this.#corrupt('is cut short', error);
      throw error;
    }
    if (got.objectBytes !== this.descriptor.bytes || got.bytes.length !== end - start) {
      throw this.#corrupt(`has ${got.objectBytes} bytes instead of ${this.descriptor.bytes}`);
    }
    return got.bytes;
  }

  async #keepBlocks(
    tail: TableTail,
    first: number,
    end: number,
    sealed: Uint8Array,
    sealedAt: number,
  ): Promise<void> {
    // In steps, so that the plaintext beside the cache stays small however well the table
    // compresses.
    for (let at = first; at < end;) {
      const next = pieceEnd(tail, at, end, Infinity, this.settings.sealBytes);
      const blocks = await this.#unseal(tail, at, next, sealed, sealedAt);
      for (const [i, block] of blocks.entries()) this.keepCopy(at + i, block);
      at = next;
    }
  }

  /** Caches a copy of a block that is a view of something larger. */
  keepCopy(index: number, block: Block): void {
    this.slots.keepBlock(index, new Block(new Uint8Array(block.bytes), this.objectName));
  }

  /**
   * Opens blocks [first, end), which `sealed` holds; its first byte is byte `sealedAt` of the
   * object.
   */
  async #unseal(
    tail: TableTail,
    first: number,
    end: number,
    sealed: Uint8Array,
    sealedAt: number,
  ): Promise<Block[]> {
    const { index } = tail;
    const sealedLengths = new Uint32Array(end - first);
    let plainBytes = 0;
    for (let i = first; i < end; i++) {
      sealedLengths[i - first] = index.sealedEnd(i) - index.sealedStart(i);
      plainBytes += index.plainBytes(i);
    }
    const target = new Uint8Array(plainBytes);
    const lengths = await this.#deps.sealer.unseal({
      seal: tail.seal,
      kind: FrameKind.tableBlock,
      firstIndex: first,
      sealed: sealed.subarray(
        index.sealedStart(first) - sealedAt,
        index.sealedEnd(end - 1) - sealedAt,
      ),
      sealedLengths,
      target,
    });
    const blocks: Block[] = [];
    let at = 0;
    for (let i = first; i < end; i++) {
      const length = index.plainBytes(i);
      if (lengths[i - first] !== length) throw this.#corrupt('has a block of another length');
      blocks.push(new Block(target.subarray(at, at + length), this.objectName));
      at += length;
    }
    return blocks;
  }

  #corrupt(why: string, cause?: unknown): StorageError {
    return new StorageError('corrupt', `table ${this.objectName} ${why}`, { cause });
  }
}

/**
 * One past the last block of a piece that begins with `first`: at least one block, else within both
 * limits.
 */
export function pieceEnd(
  tail: TableTail,
  first: number,
  end: number,
  sealedBytesMax: number,
  plainBytesMax: number,
): number {
  const start = tail.index.sealedStart(first);
  let plainBytes = tail.index.plainBytes(first);
  let next = first + 1;
  while (next < end) {
    plainBytes += tail.index.plainBytes(next);
    if (plainBytes > plainBytesMax || tail.index.sealedEnd(next) - start > sealedBytesMax) break;
    next += 1;
  }
  return next;
}

// Builds one table object from entries in ascending key order (layout: tail.ts, block.ts).
//
// 1. `add` fills a block; a full block is moved to the open batch.
// 2. A full batch (settings.sealBytes) goes to the sealer at once, so that workers seal while
//    entries arrive.
// 3. `finish` seals the rest, then builds index, filter and footer.
//
// Memory: the sealed bytes so far, one open batch, the batches in the sealer's hands, 8 bytes per
// key. All of it is bounded by TABLE_BYTES_MAX, and the caller ends a table at settings.tableBytes.

import { assert } from '../../base/assert.ts';
import { compareBytes } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { Rng } from '../../base/rng.ts';
import { FrameKind, sealedFrameBytesMax, sealFrame } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import { SALT_BYTES } from '../../codec/types.ts';
import type { CompressionName, ObjectSeal } from '../../codec/types.ts';
import { BlockBuilder } from './block-builder.ts';
import { IndexBuilder } from './block-index.ts';
import { FilterBuilder } from './bloom.ts';
import { copyBytes } from './cursor.ts';
import type { TableDescriptor } from './descriptor.ts';
import { encodeFooter, FOOTER_BYTES } from './footer.ts';
import { ENTRY_BYTES_MAX, TABLE_BYTES_MAX } from './settings.ts';
import type { TableSettings } from './settings.ts';

export interface TableBuilderDeps {
  readonly keyring: Keyring;
  readonly sealer: Sealer;
  /** Gives the object's salt. */
  readonly rng: Rng;
  /** Gives the event loop its turns. */
  readonly clock: Clock;
}

export interface FinishedTable {
  /** The object's bytes in order, for `putIfAbsent`. */
  readonly body: readonly Uint8Array[];
  readonly descriptor: TableDescriptor;
}

export interface TableBuilder {
  /** Plaintext bytes so far: what settings.tableBytes limits. */
  readonly estimatedBytes: number;
  readonly entries: number;
  /** Copies both. `key` must be greater than the one before. */
  add(key: Uint8Array, value: Uint8Array): void;
  /** Call once, after at least one `add`. Rejects when sealing failed. */
  finish(): Promise<FinishedTable>;
}

/** `objectName` is the key under which the caller will put the table. */
export function createTableBuilder(
  deps: TableBuilderDeps,
  settings: TableSettings,
  id: number,
  objectName: string,
): TableBuilder {
  return new Builder(deps, settings, id, objectName);
}

/** Plaintext blocks that are sealed together: consecutive frames of one buffer. */
interface Batch {
  readonly firstIndex: number;
  readonly source: Uint8Array;
  readonly lengths: number[];
  bytes: number;
}

interface SealedBatch {
  readonly bytes: Uint8Array;
  readonly lengths: Uint32Array;
}

class Builder implements TableBuilder {
  readonly #sealer: Sealer;
  readonly #clock: Clock;
  readonly #settings: TableSettings;
  readonly #id: number;
  readonly #salt: Uint8Array;
  readonly #seal: ObjectSeal;
  readonly #block: BlockBuilder;
  readonly #index = new IndexBuilder();
  readonly #filter: FilterBuilder;
  readonly #sealing: Promise<SealedBatch>[] = [];
  #batch: Batch | undefined;
  #plainBytes = 0;
  #firstKey: Uint8Array | undefined;
  #finished = false;
  entries = 0;

  constructor(deps: TableBuilderDeps, settings: TableSettings, id: number, objectName: string) {
    assert(settings.tableBytes <= TABLE_BYTES_MAX, 'a table is at most TABLE_BYTES_MAX long');
    assert(settings.blockBytes > 0 && settings.blockBytes <= ENTRY_BYTES_MAX, 'blocks are ≤ 1 MiB');
    this.#sealer = deps.sealer;
    this.#clock = deps.clock;
    this.#settings = settings;
    this.#id = id;
    this.#salt = deps.rng.bytes(SALT_BYTES);
    this.#seal = deps.keyring.sealFor(objectName, this.#salt);
    this.#block = new BlockBuilder(settings.blockBytes);
    this.#filter = new FilterBuilder(settings.filterBitsPerKey);
  }

  get estimatedBytes(): number {
    return this.#plainBytes + this.#block.byteLength + this.#filter.estimatedBytes;
  }

  add(key: Uint8Array, value: Uint8Array): void {
    assert(!this.#finished, 'a finished table takes no entries');
    assert(key.length + value.length <= ENTRY_BYTES_MAX, 'an entry is at most 1 MiB long');
    const block = this.#block;
    if (this.entries === 0) {
      this.#firstKey = new Uint8Array(key);
      this.#index.addBlock(undefined, key);
    } else {
      assert(compareBytes(block.lastKey, key) < 0, 'keys are added in ascending order');
      const grownBytes = block.byteLength + BlockBuilder.entryBytesMax(key, value);
      if (grownBytes > this.#settings.blockBytes && block.count > 0) {
        this.#endBlock();
        this.#index.addBlock(block.lastKey, key);
      }
    }
    block.add(key, value);
    this.#filter.add(key);
    this.entries += 1;
  }

  async finish(): Promise<FinishedTable> {
    assert(!this.#finished, 'a table is finished once');
    assert(this.entries > 0, 'a table has at least one entry');
    this.#finished = true;
    const lastKey = new Uint8Array(this.#block.lastKey);
    this.#endBlock();
    this.#sealBatch();
    const batches = await Promise.all(this.#sealing);
    const body = batches.map((batch) => batch.bytes);
    const sealedLengths = batches.flatMap((batch) => [...batch.lengths]);
    const { compression } = this.#settings;
    const filterPlain = await this.#filter.finish(this.#clock);
    // A filter is as good as random: compressing it would only cost time.
    const filter = this.#sealOne(FrameKind.tableFilter, 'none', filterPlain);
    const indexPlain = this.#index.finish(sealedLengths, lastKey);
    const index = this.#sealOne(FrameKind.tableIndex, compression, indexPlain);
    const tailBytes = filter.length + index.length + FOOTER_BYTES;
    const bytes = body.reduce((sum, part) => sum + part.length, tailBytes);
    const footer = encodeFooter(
      {
        salt: this.#salt,
        objectBytes: bytes,
        entries: this.entries,
        blockCount: sealedLengths.length,
        filterBytes: filter.length,
        indexBytes: index.length,
      },
      this.#seal,
    );
    const { entries } = this;
    const firstKey = this.#firstKey!;
    const descriptor = { id: this.#id, bytes, tailBytes, entries, firstKey, lastKey };
    return { body: [...body, filter, index, footer], descriptor };
  }

  /** Moves the block to the open batch. */
  #endBlock(): void {
    const plain = this.#block.finish();
    let batch = this.#batch;
    if (batch !== undefined && batch.bytes + plain.length > batch.source.length) {
      this.#sealBatch();
      batch = undefined;
    }
    if (batch === undefined) {
      const capacity = Math.max(this.#settings.sealBytes, plain.length);
      const firstIndex = this.#index.blockCount - 1;
      batch = { firstIndex, source: new Uint8Array(capacity), lengths: [], bytes: 0 };
      this.#batch = batch;
    }
    copyBytes(batch.source, batch.bytes, plain);
    batch.bytes += plain.length;
    batch.lengths.push(plain.length);
    this.#index.endBlock(plain.length);
    this.#plainBytes += plain.length;
    this.#block.reset();
  }

  #sealBatch(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    const sealing = this.#sealBlocks(batch);
    // `finish` awaits it and reports the failure; a builder that is given up has nobody to report
    // to.
    sealing.catch(() => {});
    this.#sealing.push(sealing);
  }

  async #sealBlocks(batch: Batch): Promise<SealedBatch> {
    const plainLengths = Uint32Array.from(batch.lengths);
    let room = 0;
    for (const length of plainLengths) room += sealedFrameBytesMax(length);
    // Not shared with the threads, which would hold on to it until they collect garbage of their
    // own: the pool's staging is copied through.
    const target = new Uint8Array(room);
    const lengths = await this.#sealer.seal({
      seal: this.#seal,
      kind: FrameKind.tableBlock,
      firstIndex: batch.firstIndex,
      compression: this.#settings.compression,
      source: batch.source.subarray(0, batch.bytes),
      plainLengths,
      target,
    });
    let bytes = 0;
    for (const length of lengths) bytes += length;
    return { bytes: target.subarray(0, bytes), lengths };
  }

  #sealOne(kind: FrameKind, compression: CompressionName, plain: Uint8Array): Uint8Array {
    const target = new Uint8Array(sealedFrameBytesMax(plain.length));
    return target.subarray(0, sealFrame(this.#seal, kind, 0, compression, plain, target, 0));
  }
}

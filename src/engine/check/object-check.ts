// Reads log and data objects to the last byte: does the record open and say what the frame table in
// the tree says, does every frame open and hold as many blocks as it should?
//
// A few objects at a time, each by ranged GETs of a few MiB: memory is bounded whatever their size.

import { equalBytes } from '../../base/bytes.ts';
import { StorageError } from '../../base/errors.ts';
import { Semaphore } from '../../base/semaphore.ts';
import { FrameKind } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { type FrameTable, lengthsOf, offsetsOf } from '../format/frame-table.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import { RECORD_COMMIT, RECORD_DATA } from '../format/records.ts';
import { type ObjectTail, openTail } from '../log/object-tail.ts';
import type { Findings } from './report.ts';

export interface ObjectCheckComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly sealer: Sealer;
}

export interface ObjectToCheck {
  readonly name: string;
  readonly segment: number;
  readonly table: FrameTable;
  /** Told when the tree has another frame table than the object. */
  readonly onOtherFrames: () => void;
}

const OBJECTS_MAX = 4;
/** Of plaintext, by one GET. */
const PIECE_BYTES = 4 * 1024 * 1024;
const OPTIONS = { cause: 'admin' } as const;

export class ObjectCheck {
  readonly #c: ObjectCheckComponents;
  readonly #findings: Findings;
  readonly #slots = new Semaphore(OBJECTS_MAX);
  #failure: { readonly error: unknown } | undefined;

  constructor(components: ObjectCheckComponents, findings: Findings) {
    this.#c = components;
    this.#findings = findings;
  }

  /** Resolves when the reading has begun. Throws what an earlier one failed with. */
  async add(object: ObjectToCheck): Promise<void> {
    await this.#slots.acquire();
    if (this.#failure !== undefined) {
      this.#slots.release();
      throw this.#failure.error;
    }
    this.#read(object)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#slots.release());
  }

  /** Resolves when all that was added has been read. */
  async settled(): Promise<void> {
    await this.#slots.acquire(OBJECTS_MAX);
    this.#slots.release(OBJECTS_MAX);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #read({ name, segment, table, onOtherFrames }: ObjectToCheck): Promise<void> {
    const findings = this.#findings;
    try {
      const tail = await openTail(this.#c, name, 'admin');
      const other = differenceOf(tail, segment, table);
      if (other !== undefined) {
        findings.error('frames', name, `segment ${segment}: its frame table ${other}`);
        onOtherFrames();
        return;
      }
      await readFrames(this.#c, name, table);
      findings.checked.objectsRead += 1;
      findings.checked.bytesRead += tail.objectBytes;
    } catch (error) {
      findings.caught('damaged', name, error);
    }
  }
}

/** What the object's own record says otherwise than `table`, or undefined. */
function differenceOf(tail: ObjectTail, segment: number, table: FrameTable): string | undefined {
  const { record, footer } = tail;
  if (table.dataId === 0) {
    if (record.type !== RECORD_COMMIT) return 'names an object that is no commit';
    if (record.segment !== segment) return `names the object of segment ${record.segment}`;
    if (record.data !== undefined) return 'names a relocation, whose blocks lie elsewhere';
  } else if (record.type !== RECORD_DATA) {
    return 'names an object that is no data object';
  }
  if (!equalBytes(footer.salt, table.salt)) return 'has another salt';
  if (footer.cipher !== table.cipher) return 'names another cipher';
  const { blocks, blocksPerFrame } = record;
  if (blocks !== table.blocks || blocksPerFrame !== table.blocksPerFrame) {
    return `has ${table.blocks} blocks instead of ${blocks}`;
  }
  const offsets = offsetsOf(record.frameLengths);
  if (offsets.some((offset, i) => offset !== table.offsets[i])) return 'has other frames';
  return undefined;
}

async function readFrames(
  { store, keyring, sealer }: ObjectCheckComponents,
  name: string,
  table: FrameTable,
): Promise<void> {
  const { blocks, blocksPerFrame, offsets } = table;
  const frames = offsets.length - 1;
  const step = Math.max(1, Math.floor(PIECE_BYTES / (blocksPerFrame * BLOCK_BYTES)));
  const seal = keyring.sealFor(name, table.salt, table.cipher);
  for (let first = 0; first < frames; first += step) {
    const end = Math.min(frames, first + step);
    const range = { start: offsets[first]!, end: offsets[end]! };
    const { bytes } = await store.get(name, range, OPTIONS);
    if (bytes.length !== range.end - range.start) {
      throw new StorageError('corrupt', `ends early, after ${bytes.length} bytes`);
    }
    const plainBytes =
      (Math.min(blocks, end * blocksPerFrame) - first * blocksPerFrame) * BLOCK_BYTES;
    const lengths = await sealer.unseal({
      seal,
      kind: FrameKind.data,
      firstIndex: first,
      sealed: bytes,
      sealedLengths: lengthsOf(offsets.subarray(first, end + 1).map((at) => at - range.start)),
      target: new Uint8Array(plainBytes),
    });
    if (lengths.reduce((sum, length) => sum + length, 0) !== plainBytes) {
      throw new StorageError('corrupt', 'has frames of another length than its frame table says');
    }
  }
}

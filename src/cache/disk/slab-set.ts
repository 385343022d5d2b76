// The slabs of a cache: which slots are free, which slab of each kind is being filled, in which
// order full ones leave; and the only code that writes to them. One caller at a time.
//
//   free ─► open ─► sealed ─► free        one open slab of each kind, any number of sealed ones
//
// Slot s is the file `slab-<s>`. It is empty while it is free, so the files never hold more than
// the slots of the layout.
//
// Invariants:
//   1. An entry is in the index only after its bytes and its record were written.
//   2. A slab leaves `slabs` only when none of its entries is in the index.
//   3. A write that failed changed nothing in memory: the next one goes to the same place.

import { assert } from '../../base/assert.ts';
import type { Rng } from '../../base/rng.ts';
import type { Disk } from './disk.ts';
import { EntryIndex } from './entry-index.ts';
import type { Layout } from './layout.ts';
import { Slab } from './slab.ts';
import {
  bytesOf,
  CELL_WORDS,
  encodeDirectory,
  encodeHeader,
  finishRecord,
  MAIN,
  PROBATION,
  RECORD_ENTRIES_MAX,
  type SlabKind,
  slabName,
} from './slab-format.ts';

/** Stay free of newcomers, so that there is room for what the next victim leaves behind. */
const FREE_MIN = 2;
/** Sealed bytes of one record, if it has more than one entry. */
const RECORD_BYTES_MAX = 1024 * 1024;
/**
 * What the index has room for from the start: half of a frame, as it compresses. Growing it stops
 * everything for 0.2 µs an entry.
 */
const ENTRY_BYTES_EXPECTED = 32 * 1024;

/** A frame to be written. `bytes` stay as they are until it is. */
export interface Item {
  readonly low: number;
  readonly high: number;
  readonly frame: number;
  readonly sum: number;
  readonly bytes: Uint8Array;
}

export interface SlabSetComponents {
  readonly disk: Disk;
  readonly rng: Rng;
}

export class SlabSet {
  readonly layout: Layout;
  readonly index: EntryIndex;
  readonly #c: SlabSetComponents;
  readonly #directory: string;
  readonly #slabs: (Slab | undefined)[];
  readonly #free: number[] = [];
  /** Oldest first. */
  readonly #sealed: Record<SlabKind, Slab[]> = { [PROBATION]: [], [MAIN]: [] };
  readonly #open: Record<SlabKind, Slab | undefined> = {
    [PROBATION]: undefined,
    [MAIN]: undefined,
  };
  #nextSequence = 1;

  constructor(components: SlabSetComponents, directory: string, layout: Layout) {
    this.#c = components;
    this.#directory = directory;
    this.layout = layout;
    this.#slabs = Array.from({ length: layout.slabCount }, () => undefined);
    const capacity = (layout.slabBytes / ENTRY_BYTES_EXPECTED) * layout.slabCount;
    this.index = new EntryIndex(this.#slabs, layout.entriesMax, capacity);
  }

  get memoryBytes(): number {
    const slabs = this.#slabs.reduce((sum, slab) => sum + (slab?.memoryBytes ?? 0), 0);
    return slabs + this.index.memoryBytes;
  }

  /** Bytes of the files, with what is being written. */
  get fileBytes(): number {
    return this.#slabs.reduce((sum, slab) => sum + (slab?.closedBytes ?? 0), 0);
  }

  get mustEvict(): boolean {
    return this.layout.slabCount > 0 && this.#free.length < FREE_MIN;
  }

  /** Takes over slabs that were found on disk; the other slots are free. */
  adopt(found: readonly Slab[]): void {
    const ordered = found.toSorted((a, b) => a.header.sequence - b.header.sequence);
    for (const slab of ordered) {
      this.#slabs[slab.slot] = slab;
      for (let entry = 0; entry < slab.count; entry++) this.index.put(slab, entry);
      this.#sealed[slab.header.kind].push(slab);
      this.#nextSequence = slab.header.sequence + 1;
    }
    // Lower slots are used first.
    for (let slot = this.layout.slabCount - 1; slot >= 0; slot--) {
      if (this.#slabs[slot] === undefined) this.#free.push(slot);
    }
    // Go on with the youngest of each kind: records take the place of its directory. If it is full,
    // the next write seals it.
    for (const kind of [PROBATION, MAIN] as const) this.#open[kind] = this.#sealed[kind].pop();
  }

  /**
   * Writes as many items, from the first on, as one record of the open slab takes, and opens a slab
   * if need be. Gives their count and the entry of the first; undefined when a slab must be evicted
   * before. The last free slots are for `survivors` only.
   */
  async append(
    kind: SlabKind,
    items: readonly Item[],
    survivors: boolean,
  ): Promise<{ readonly count: number; readonly slab: Slab; readonly first: number } | undefined> {
    const room = items[0]!.bytes.length;
    let slab = this.#open[kind];
    if (slab === undefined || !slab.fits(1, room, this.layout)) {
      if (this.#free.length < (survivors ? 1 : FREE_MIN)) return undefined;
      slab = await this.#openNext(kind);
    }
    const { count, cells, parts } = this.#recordOf(slab, items);
    await slab.file.write(parts, slab.used);
    const first = slab.count;
    const end = parts.reduce((sum, part) => sum + part.length, slab.used);
    slab.append(cells.subarray(CELL_WORDS), end);
    return { count, slab, first };
  }

  #recordOf(
    slab: Slab,
    items: readonly Item[],
  ): { readonly count: number; readonly cells: Uint32Array; readonly parts: Uint8Array[] } {
    let count = 1;
    let payload = items[0]!.bytes.length;
    while (count < Math.min(items.length, RECORD_ENTRIES_MAX)) {
      const more = payload + items[count]!.bytes.length;
      if (more > RECORD_BYTES_MAX || !slab.fits(count + 1, more, this.layout)) break;
      payload = more;
      count += 1;
    }
    const cells = new Uint32Array((1 + count) * CELL_WORDS);
    const parts = [bytesOf(cells)];
    let offset = slab.used + cells.byteLength;
    for (let index = 0; index < count; index++) {
      const { low, high, frame, sum, bytes } = items[index]!;
      cells.set([low, high, frame, offset, bytes.length, sum], (1 + index) * CELL_WORDS);
      parts.push(bytes);
      offset += bytes.length;
    }
    finishRecord(cells, slab.header, payload);
    return { count, cells, parts };
  }

  async #openNext(kind: SlabKind): Promise<Slab> {
    await this.#seal(kind);
    const slot = this.#free.at(-1)!;
    // Somebody may have removed the directory since.
    await this.#c.disk.list(this.#directory);
    const file = await this.#c.disk.open(this.#directory, slabName(slot));
    const random = new Uint32Array(2);
    bytesOf(random).set(this.#c.rng.bytes(8));
    const header = {
      kind,
      sequence: this.#nextSequence,
      generationLow: random[0]!,
      generationHigh: random[1]!,
    };
    try {
      await file.write([bytesOf(encodeHeader(header))], 0);
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#free.pop();
    this.#nextSequence += 1;
    const slab = new Slab(slot, header, file);
    this.#slabs[slot] = slab;
    this.#open[kind] = slab;
    return slab;
  }

  /** Writes the directory of the open slab, which takes no more from then on. */
  async #seal(kind: SlabKind): Promise<void> {
    const slab = this.#open[kind];
    if (slab === undefined) return;
    const directory = encodeDirectory(slab.entries(), slab.header, slab.used);
    await slab.file.write([bytesOf(directory)], slab.used);
    slab.trim();
    this.#open[kind] = undefined;
    this.#sealed[kind].push(slab);
  }

  /**
   * The slab whose turn it is to leave: newcomers while they hold more than their share, else the
   * oldest of those that stayed.
   */
  victim(): Slab | undefined {
    const newcomers = this.#sealed[PROBATION];
    const held = newcomers.length + (this.#open[PROBATION] === undefined ? 0 : 1);
    if (held > this.layout.probationSlabs && newcomers.length > 0) return newcomers[0];
    return this.#sealed[MAIN][0] ?? newcomers[0];
  }

  /**
   * Empties a sealed slab, none of whose entries is in the index any more. Its slot is free from
   * then on; the caller closes the file.
   */
  async release(slab: Slab): Promise<void> {
    const list = this.#sealed[slab.header.kind];
    assert(list.includes(slab), 'a slab that is released was sealed');
    // Readers under way find nothing, or the bytes of the next filling: their sums tell.
    await slab.file.truncate(0);
    list.splice(list.indexOf(slab), 1);
    this.#slabs[slab.slot] = undefined;
    this.#free.push(slab.slot);
  }

  /** Writes the directories of the open slabs and closes all files. */
  async close(): Promise<void> {
    let failure: unknown;
    const tryTo = (work: Promise<void>): Promise<void> =>
      work.catch((error: unknown) => {
        failure ??= error;
      });
    for (const kind of [PROBATION, MAIN] as const) await tryTo(this.#seal(kind));
    for (const slab of this.#slabs) if (slab !== undefined) await tryTo(slab.file.close());
    if (failure !== undefined) throw failure;
  }
}

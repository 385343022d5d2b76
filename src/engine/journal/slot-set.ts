// The slots of a journal: files of one size, filled with zeroes when they are made, so that an
// fdatasync of what is written to them later writes no metadata.
//
//   made ─► free ─► newest: is being filled ─► used ─► free, when the bucket holds what it says
//              │                                  └─► stale, when the journal has failed
//              └─► removed, when there are enough
//
// One that is used again gets a fresh salt, under which its old records do not open. The next one
// is made while the newest is filled.

import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ObjectSeal } from '../../codec/types.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';

/** Slots that are kept for use again. */
const FREE_SLOTS_MAX = 2;
/** Zeroes are written in such pieces, so that a commit need not wait long behind one. */
const FILL_BYTES = 1024 * 1024;

export interface SlotSetComponents {
  readonly disk: JournalDisk;
  readonly log: Log;
}

export interface SlotSetSettings {
  readonly directory: string;
  /** Of the slots' names. */
  readonly prefix: string;
  /** Of a slot, unless a record needs more. */
  readonly slotBytes: number;
}

export interface Slot {
  readonly name: string;
  readonly file: JournalFile;
  readonly bytes: number;
  /** Of this use; undefined before its first record. */
  seal: ObjectSeal | undefined;
  /** Where the next record goes. */
  at: number;
  frames: number;
  lastSequence: number;
}

export class SlotSet {
  readonly #c: SlotSetComponents;
  readonly #settings: SlotSetSettings;
  /** Oldest first; the last one is being filled. */
  #used: Slot[] = [];
  readonly #free: Slot[] = [];
  /** From before a restart: gone as soon as a fresh one tells who opens the journal of it. */
  #stale: Slot[] = [];
  #preparing: Promise<void> | undefined;
  /** Being removed, or not to be removed so far. */
  readonly #dropped = new Map<string, Promise<void>>();
  #names = 0;

  constructor(components: SlotSetComponents, settings: SlotSetSettings) {
    this.#c = components;
    this.#settings = settings;
  }

  /** Of slots that hold something which the bucket lacks, or are being filled. */
  get usedBytes(): number {
    return this.#used.reduce((sum, slot) => sum + slot.at, 0);
  }

  /** The one that is being filled. */
  get newest(): Slot | undefined {
    return this.#used.at(-1);
  }

  /** Makes the first slot. Rejects when the disk refuses. */
  async start(): Promise<void> {
    await this.#c.disk.list(this.#settings.directory);
    await this.#prepare(this.#settings.slotBytes);
  }

  /** An empty slot with room for so many bytes is the newest from here on. */
  async next(wanted: number): Promise<Slot> {
    await this.#preparing;
    let at = this.#free.findIndex((slot) => slot.bytes >= wanted);
    if (at < 0) {
      await this.#prepare(Math.max(this.#settings.slotBytes, wanted));
      at = this.#free.length - 1;
    }
    const [slot] = this.#free.splice(at, 1);
    this.#used.push(slot!);
    if (this.#free.length === 0) this.#prepareBeside();
    return slot!;
  }

  /** The bucket holds everything up to `stored`: slots that say no more than that are free. */
  release(stored: number): void {
    while (this.#used.length > 1 && this.#used[0]!.lastSequence <= stored) {
      this.#recycle(this.#used.shift()!);
    }
  }

  #recycle(slot: Slot): void {
    if (this.#free.length >= FREE_SLOTS_MAX) return this.#drop(slot);
    slot.at = 0;
    slot.lastSequence = 0;
    slot.seal = undefined;
    this.#free.push(slot);
  }

  #drop(slot: Slot): void {
    this.#dropped.set(slot.name, this.#removeDropped(slot));
  }

  /** Never rejects: `close` tries once more. */
  async #removeDropped({ name, file }: Slot): Promise<void> {
    const { disk, log } = this.#c;
    try {
      await file.close();
      await disk.remove(this.#settings.directory, name);
      this.#dropped.delete(name);
    } catch (error) {
      log.warn('journal.slot.removal.failed', { slot: name, error: messageOf(error) });
    }
  }

  /** The next slot is made while this one is filled. A failure is met by whoever needs it. */
  #prepareBeside(): void {
    this.#preparing = this.#prepare(this.#settings.slotBytes)
      .catch((error: unknown) => {
        this.#c.log.warn('journal.slot.failed', { error: messageOf(error) });
      })
      .finally(() => {
        this.#preparing = undefined;
      });
  }

  async #prepare(bytes: number): Promise<void> {
    const { disk } = this.#c;
    const { directory, prefix } = this.#settings;
    const name = `${prefix}${++this.#names}.journal`;
    const file = await disk.open(directory, name);
    try {
      const zeroes = new Uint8Array(FILL_BYTES);
      for (let at = 0; at < bytes; at += FILL_BYTES) {
        await file.write([zeroes.subarray(0, Math.min(FILL_BYTES, bytes - at))], at);
      }
      await file.sync();
      await disk.syncDirectory(directory);
    } catch (error) {
      await file.close();
      await disk.remove(directory, name).catch(() => {});
      throw error;
    }
    this.#free.push({
      name,
      file,
      bytes,
      seal: undefined,
      at: 0,
      frames: 0,
      lastSequence: 0,
    });
  }

  /** After a failure: a fresh slot is the only free one. Rejects when the disk still refuses. */
  async prepareFresh(): Promise<void> {
    await this.#preparing;
    for (const slot of this.#free.splice(0)) this.#drop(slot);
    await this.#prepare(this.#settings.slotBytes);
  }

  /** What was used is never written again, and stays until `dropStale`. */
  retire(): void {
    this.#stale.push(...this.#used.splice(0));
  }

  dropStale(): void {
    for (const slot of this.#stale.splice(0)) this.#drop(slot);
  }

  /** Closes its files; with `remove`, they go: the bucket holds everything that they say. */
  async close(remove: boolean): Promise<void> {
    await this.#preparing;
    const { disk } = this.#c;
    const { directory } = this.#settings;
    const newest = this.#used.pop();
    await Promise.all(this.#dropped.values());
    if (remove) for (const name of this.#dropped.keys()) await disk.remove(directory, name);
    for (const slot of [...this.#stale, ...this.#used, ...this.#free]) {
      await slot.file.close();
      if (remove) await disk.remove(directory, slot.name);
    }
    if (newest !== undefined) {
      await newest.file.close();
      // It says that the store has everything, so it goes when the others are gone.
      if (remove) await disk.syncDirectory(directory);
      if (remove) await disk.remove(directory, newest.name);
    }
    this.#stale = [];
    this.#used = [];
    this.#free.length = 0;
  }
}

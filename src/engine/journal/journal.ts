// The journal of one writer: records appended to slots, files of one size that are filled with
// zeroes when they are made and used again once the bucket holds what they say (RFC 0004).
//
//   append ─► does it fit the current slot? ─no─► a free slot under a fresh salt, header first
//          ─► seal ─► one write, and an fdatasync when it shall be durable
//
// Sequences ascend by one, over all slots. One append at a time. A write or an fdatasync that fails
// is the end of this journal: what the kernel dropped is unknown, so nothing is appended behind it.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { asStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import { FrameKind } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import { allocateShared } from '../../codec/shared.ts';
import { type ObjectSeal, SALT_BYTES } from '../../codec/types.ts';
import {
  encodeJournalHeader,
  encodeRecordHeader,
  JOURNAL_PAGE_BYTES,
  journalSeal,
  paddedRecordBytes,
  RECORD_HEADER_BYTES,
  recordFrames,
} from '../format/journal.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';

const MIB = 1024 * 1024;
const SLOT_BYTES_MIN = 64 * 1024;
const SLOT_BYTES_MAX = 64 * MIB;
/** The bound of bytes is this many slots, one of which is being filled. */
const SLOTS_MAX = 16;
/** Slots that are kept for use again. */
const FREE_SLOTS_MAX = 2;
/** A buffer that had to grow has so much room for the next one. */
const ROOM_BYTES = 256 * 1024;
/** Zeroes are written in such pieces, so that a commit need not wait long behind one. */
const FILL_BYTES = 1 * MIB;

export interface JournalComponents {
  readonly disk: JournalDisk;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export interface JournalSettings {
  readonly directory: string;
  /** Records that the bucket lacks take so much at most, and a slot more. */
  readonly bytesMax: number;
  readonly host: string;
}

export interface JournalOwner {
  /** Branch id. */
  readonly branch: string;
  readonly epoch: number;
}

interface Slot {
  readonly name: string;
  readonly file: JournalFile;
  readonly bytes: number;
  seal: ObjectSeal | undefined;
  /** Where the next record goes. */
  at: number;
  frames: number;
  lastSequence: number;
}

export class Journal {
  readonly id: string;
  readonly createdUnixMs: number;
  readonly #c: JournalComponents;
  readonly #settings: JournalSettings;
  readonly #owner: JournalOwner;
  readonly #slotBytes: number;
  /** Oldest first; the last one is being filled. */
  #used: Slot[] = [];
  readonly #free: Slot[] = [];
  /** From before a restart: gone as soon as a fresh one tells who opens the journal of it. */
  #stale: Slot[] = [];
  #preparing: Promise<void> | undefined;
  #files = 0;
  #names = 0;
  #stored = 0;
  /** Everything up to this sequence is on stable storage. */
  #synced = 0;
  #sealed = allocateShared(1 * MIB);
  #failure: StorageError | undefined;
  #fresh = false;
  readonly counters = { records: 0, bytes: 0, syncs: 0 };

  constructor(components: JournalComponents, settings: JournalSettings, owner: JournalOwner) {
    this.#c = components;
    this.#settings = settings;
    this.#owner = owner;
    this.id = Buffer.from(components.rng.bytes(SALT_BYTES)).toString('hex');
    this.createdUnixMs = components.clock.unixMs();
    const share = Math.ceil(settings.bytesMax / SLOTS_MAX);
    this.#slotBytes = Math.min(SLOT_BYTES_MAX, Math.max(SLOT_BYTES_MIN, share));
  }

  get #prefix(): string {
    return `${this.id.slice(0, 8)}-`;
  }

  /** Whether a slot of that name is of this journal. */
  owns(name: string): boolean {
    return name.startsWith(this.#prefix);
  }

  get host(): string {
    return this.#settings.host;
  }

  /** Why nothing more can be appended. */
  get failure(): StorageError | undefined {
    return this.#failure;
  }

  /** Of slots that hold something which the bucket lacks, or are being filled. */
  get usedBytes(): number {
    return this.#used.reduce((sum, slot) => sum + slot.at, 0);
  }

  /** The bucket is known to hold everything up to this sequence. */
  get stored(): number {
    return this.#stored;
  }

  get full(): boolean {
    return this.usedBytes >= this.#settings.bytesMax;
  }

  /** Makes the first slot, so that the first barrier finds it. Rejects when the disk refuses. */
  async start(): Promise<void> {
    await this.#c.disk.list(this.#settings.directory);
    await this.#prepare(this.#slotBytes);
  }

  /**
   * Appends one record; `plain` is borrowed shared memory. With `durable`, it and all before it are
   * on stable storage when this resolves.
   */
  async append(plain: Uint8Array, sequence: number, durable: boolean): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#append(plain, sequence, durable);
    } catch (error) {
      this.#failure = asStorageError(error, 'the journal');
      const fields = { error: messageOf(error), sequence };
      this.#c.log.error('journal.failed', fields);
      throw this.#failure;
    }
  }

  async #append(plain: Uint8Array, sequence: number, durable: boolean): Promise<void> {
    const bytes = paddedRecordBytes(plain.length);
    const slot = await this.#slotFor(bytes);
    assert(sequence > slot.lastSequence, 'sequences ascend');
    const header = slot.at === 0 ? JOURNAL_PAGE_BYTES : 0;
    this.#ensure(header + bytes);
    const target = this.#sealed.subarray(0, header + bytes);
    if (header > 0) this.#open(slot, sequence, target);
    const seal = slot.seal!;
    const firstFrame = slot.frames;
    const record = target.subarray(header);
    const lengths = recordFrames(plain.length);
    await this.#c.sealer.seal({
      seal,
      kind: FrameKind.journalData,
      firstIndex: firstFrame,
      compression: 'none',
      source: plain,
      plainLengths: lengths,
      target: record.subarray(RECORD_HEADER_BYTES),
    });
    const stored = this.#stored;
    encodeRecordHeader(
      seal,
      { plainBytes: plain.length, sequence, stored, firstFrame, synced: this.#synced },
      record.subarray(0, RECORD_HEADER_BYTES),
    );
    await slot.file.append(target, slot.at, durable);
    slot.at += target.length;
    slot.frames += lengths.length;
    slot.lastSequence = sequence;
    this.counters.records += 1;
    this.counters.bytes += target.length;
    if (!durable) return;
    this.counters.syncs += 1;
    this.#synced = sequence;
  }

  #open(slot: Slot, sequence: number, target: Uint8Array): void {
    const salt = this.#c.rng.bytes(SALT_BYTES);
    const { branch, epoch } = this.#owner;
    slot.seal = journalSeal(this.#c.keyring, branch, salt);
    slot.frames = 0;
    const header = {
      journal: this.id,
      branch,
      epoch,
      file: ++this.#files,
      firstSequence: sequence,
      host: this.#settings.host,
      createdUnixMs: this.createdUnixMs,
    };
    encodeJournalHeader(slot.seal, salt, header, target);
  }

  /** What lies behind `sequence` in the bucket: slots that hold no more than that are free. */
  release(sequence: number): void {
    this.#stored = Math.max(this.#stored, sequence);
    while (this.#used.length > 1 && this.#used[0]!.lastSequence <= this.#stored) {
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
    const { disk, log } = this.#c;
    const removing = slot.file.close().then(() => disk.remove(this.#settings.directory, slot.name));
    removing.catch((error: unknown) => {
      log.warn('journal.slot.removal.failed', { slot: slot.name, error: messageOf(error) });
    });
  }

  /** The slot that a record of so many bytes goes to. The slot before it is durable then. */
  async #slotFor(bytes: number): Promise<Slot> {
    const current = this.#used.at(-1);
    if (current !== undefined && current.at + bytes <= current.bytes) return current;
    // What was appended without an fdatasync must not be passed over by one of the next slot.
    if (current !== undefined) {
      await current.file.sync();
      this.#synced = current.lastSequence;
    }
    const wanted = JOURNAL_PAGE_BYTES + bytes;
    await this.#preparing;
    let at = this.#free.findIndex((slot) => slot.bytes >= wanted);
    if (at < 0) {
      await this.#prepare(Math.max(this.#slotBytes, wanted));
      at = this.#free.length - 1;
    }
    const [slot] = this.#free.splice(at, 1);
    this.#used.push(slot!);
    if (this.#free.length === 0) this.#prepareBeside();
    return slot!;
  }

  /** The next slot is made while this one is filled. A failure is met by whoever needs it. */
  #prepareBeside(): void {
    this.#preparing = this.#prepare(this.#slotBytes)
      .catch((error: unknown) => {
        this.#c.log.warn('journal.slot.failed', { error: messageOf(error) });
      })
      .finally(() => {
        this.#preparing = undefined;
      });
  }

  /** A new slot, filled with zeroes, so that an fdatasync of its records writes no metadata. */
  async #prepare(bytes: number): Promise<void> {
    const { disk } = this.#c;
    const { directory } = this.#settings;
    const name = `${this.#prefix}${++this.#names}.journal`;
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

  #ensure(bytes: number): void {
    if (this.#sealed.length < bytes) this.#sealed = allocateShared(bytes + ROOM_BYTES);
  }

  /** After a failure: there is a fresh slot to go on in. */
  get restartable(): boolean {
    return this.#fresh;
  }

  /** After a failure: a fresh slot beside the old ones. Rejects when the disk still refuses. */
  async prepareRestart(): Promise<void> {
    assert(this.#failure !== undefined, 'it has failed');
    await this.#preparing;
    for (const slot of this.#free.splice(0)) this.#drop(slot);
    await this.#prepare(this.#slotBytes);
    this.#fresh = true;
  }

  /**
   * Goes on in the fresh slot. The bucket has everything that the old ones say; they stay until
   * `dropStale`, behind the first record of the fresh one: there is no moment without a journal.
   */
  restart(): void {
    this.#stale.push(...this.#used.splice(0));
    this.#failure = undefined;
    this.#fresh = false;
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
    this.#failure ??= new StorageError('aborted', 'the journal is closed');
  }
}

// The journal of one writer: records appended to slots, which are used again once the bucket holds
// what they say (slot-set.ts, RFC 0004).
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
import { SALT_BYTES } from '../../codec/types.ts';
import {
  encodeJournalHeader,
  encodeRecordHeader,
  JOURNAL_PAGE_BYTES,
  journalSeal,
  paddedRecordBytes,
  RECORD_HEADER_BYTES,
  recordFrames,
} from '../format/journal.ts';
import type { JournalDisk } from './journal-disk.ts';
import { type Slot, SlotSet } from './slot-set.ts';

const MIB = 1024 * 1024;
const SLOT_BYTES_MIN = 64 * 1024;
const SLOT_BYTES_MAX = 64 * MIB;
/** The bound of bytes is this many slots, one of which is being filled. */
const SLOTS_MAX = 16;
/** A buffer that had to grow has so much room for the next one. */
const ROOM_BYTES = 256 * 1024;

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

export class Journal {
  readonly id: string;
  readonly createdUnixMs: number;
  readonly #c: JournalComponents;
  readonly #settings: JournalSettings;
  readonly #owner: JournalOwner;
  readonly #slots: SlotSet;
  #files = 0;
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
    const slotBytes = Math.min(SLOT_BYTES_MAX, Math.max(SLOT_BYTES_MIN, share));
    const { directory } = settings;
    this.#slots = new SlotSet(components, { directory, prefix: this.#prefix, slotBytes });
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
    return this.#slots.usedBytes;
  }

  /** The bucket is known to hold everything up to this sequence. */
  get stored(): number {
    return this.#stored;
  }

  get full(): boolean {
    return this.usedBytes >= this.#settings.bytesMax;
  }

  /** Makes the first slot, so that the first barrier finds it. Rejects when the disk refuses. */
  start(): Promise<void> {
    return this.#slots.start();
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
    this.#slots.release(this.#stored);
  }

  /** The slot that a record of so many bytes goes to. The slot before it is durable then. */
  async #slotFor(bytes: number): Promise<Slot> {
    const current = this.#slots.newest;
    if (current !== undefined && current.at + bytes <= current.bytes) return current;
    // What was appended without an fdatasync must not be passed over by one of the next slot.
    if (current !== undefined) {
      await current.file.sync();
      this.#synced = current.lastSequence;
    }
    return this.#slots.next(JOURNAL_PAGE_BYTES + bytes);
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
    await this.#slots.prepareFresh();
    this.#fresh = true;
  }

  /**
   * Goes on in the fresh slot. The bucket has everything that the old ones say; they stay until
   * `dropStale`, behind the first record of the fresh one: there is no moment without a journal.
   */
  restart(): void {
    this.#slots.retire();
    this.#failure = undefined;
    this.#fresh = false;
  }

  dropStale(): void {
    this.#slots.dropStale();
  }

  /** Closes its files; with `remove`, they go: the bucket holds everything that they say. */
  async close(remove: boolean): Promise<void> {
    await this.#slots.close(remove);
    this.#failure ??= new StorageError('aborted', 'the journal is closed');
  }
}

// What a journal's directory holds: the writer's records past what the bucket has, in order.
//
//   1. Read the header of each slot. Those of one journal, by file number.
//   2. In each, records follow each other until one does not open: there the slot's use ends.
//   3. Sequences go on without a gap from `after`. Behind a gap nothing counts: it is what a power
//      cut left of records that no one had synced. But a record that was written when the missing
//      one had been synced means that acknowledged records were damaged: `corrupt`.

import { StorageError } from '../../base/errors.ts';
import { FrameKind, FRAME_OVERHEAD_BYTES } from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectSeal } from '../../codec/types.ts';
import {
  decodeJournalHeader,
  decodeRecordHeader,
  JOURNAL_PAGE_BYTES,
  type JournalHeader,
  paddedRecordBytes,
  RECORD_HEADER_BYTES,
  recordBytes,
  recordFrames,
  type RecordHeader,
} from '../format/journal.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';

const SUFFIX = '.journal';
/** Read at a time when what lies behind the end is searched. */
const SEARCH_BYTES = 1024 * 1024;

export interface ReadJournalComponents {
  readonly disk: JournalDisk;
  readonly keyring: Keyring;
  readonly sealer: Sealer;
}

interface FoundSlot {
  readonly name: string;
  readonly header: JournalHeader;
  readonly seal: ObjectSeal;
}

export interface JournalRecord {
  readonly sequence: number;
  /** Owned. */
  readonly plain: Uint8Array;
}

/** What a journal says of itself. */
export interface JournalSummary {
  readonly id: string;
  readonly epoch: number;
  readonly host: string;
  readonly createdUnixMs: number;
  readonly records: number;
  readonly bytes: number;
  /** Of the last record, 0 for none. */
  readonly lastSequence: number;
  /** The bucket was known to hold everything up to here. */
  readonly stored: number;
}

export class FoundJournal {
  readonly #c: ReadJournalComponents;
  readonly #directory: string;
  readonly #slots: readonly FoundSlot[];

  constructor(c: ReadJournalComponents, directory: string, slots: readonly FoundSlot[]) {
    this.#c = c;
    this.#directory = directory;
    this.#slots = slots;
  }

  get id(): string {
    return this.#slots[0]!.header.journal;
  }

  /** Of its newest slot. */
  get header(): JournalHeader {
    return this.#slots.at(-1)!.header;
  }

  /** Oldest first. */
  get names(): readonly string[] {
    return this.#slots.map(({ name }) => name);
  }

  /** Reads all headers. Damage that `records` would meet is not looked for. */
  async summary(): Promise<JournalSummary> {
    const { epoch, host, createdUnixMs } = this.header;
    let records = 0;
    let bytes = 0;
    let lastSequence = 0;
    let stored = 0;
    for (const slot of this.#slots) {
      await this.#within(slot, async (file) => {
        for await (const { header } of headersOf(file, slot.seal)) {
          records += 1;
          bytes += header.plainBytes;
          lastSequence = header.sequence;
          stored = Math.max(stored, header.stored);
        }
      });
    }
    return { id: this.id, epoch, host, createdUnixMs, records, bytes, lastSequence, stored };
  }

  /** The records behind `after`. `corrupt` when one of them is damaged or missing. */
  async *records(after: number): AsyncGenerator<JournalRecord> {
    let expected = after + 1;
    for (const slot of this.#slots) {
      const isLast = slot === this.#slots.at(-1);
      const file = await this.#c.disk.open(this.#directory, slot.name);
      try {
        let end = JOURNAL_PAGE_BYTES;
        for await (const { header, at } of headersOf(file, slot.seal)) {
          const plain = await this.#open(file, slot.seal, header, at);
          if (plain === undefined) break;
          end = at + paddedRecordBytes(header.plainBytes);
          if (header.sequence <= after) continue;
          if (header.synced >= expected) throw lost(slot.name, expected, header.synced);
          if (header.sequence !== expected) continue;
          yield { sequence: header.sequence, plain };
          expected += 1;
        }
        if (!isLast) continue;
        const beyond = await searchBeyond(file, slot.seal, end, expected);
        if (beyond !== undefined) throw lost(slot.name, expected, beyond);
      } finally {
        await file.close();
      }
    }
  }

  /** Undefined when the frames do not open: it was torn. */
  async #open(
    file: JournalFile,
    seal: ObjectSeal,
    { plainBytes, firstFrame }: RecordHeader,
    at: number,
  ): Promise<Uint8Array | undefined> {
    const sealed = new Uint8Array(recordBytes(plainBytes) - RECORD_HEADER_BYTES);
    if ((await file.read(sealed, at + RECORD_HEADER_BYTES)) < sealed.length) return undefined;
    const target = new Uint8Array(plainBytes);
    const sealedLengths = recordFrames(plainBytes).map((bytes) => bytes + FRAME_OVERHEAD_BYTES);
    const kind = FrameKind.journalData;
    try {
      await this.#c.sealer.unseal({
        seal,
        kind,
        firstIndex: firstFrame,
        sealed,
        sealedLengths,
        target,
      });
      return target;
    } catch (error) {
      if (error instanceof StorageError && error.kind === 'corrupt') return undefined;
      throw error;
    }
  }

  async #within(slot: FoundSlot, work: (file: JournalFile) => Promise<void>): Promise<void> {
    const file = await this.#c.disk.open(this.#directory, slot.name);
    try {
      await work(file);
    } finally {
      await file.close();
    }
  }
}

/** The journals in a directory, one or none as a rule. */
export async function findJournals(
  components: ReadJournalComponents,
  directory: string,
  branch: string,
): Promise<readonly FoundJournal[]> {
  const { disk, keyring } = components;
  const byId = new Map<string, FoundSlot[]>();
  for (const name of (await disk.list(directory)).toSorted()) {
    if (!name.endsWith(SUFFIX)) continue;
    const file = await disk.open(directory, name);
    const page = new Uint8Array(JOURNAL_PAGE_BYTES);
    try {
      await file.read(page, 0);
    } finally {
      await file.close();
    }
    const decoded = decodeJournalHeader(keyring, branch, page, `${directory}/${name}`);
    if (decoded === undefined) continue;
    const { journal } = decoded.header;
    const slots = byId.get(journal) ?? [];
    slots.push({ name, ...decoded });
    byId.set(journal, slots);
  }
  return [...byId.values()].map((slots) => {
    slots.sort((a, b) => a.header.file - b.header.file);
    return new FoundJournal(components, directory, slots);
  });
}

/** Removes slots, those that were never used too, durably. */
export async function removeSlots(
  disk: JournalDisk,
  directory: string,
  chosen: (name: string) => boolean,
): Promise<void> {
  const names = (await disk.list(directory)).filter((one) => one.endsWith(SUFFIX) && chosen(one));
  for (const name of names) await disk.remove(directory, name);
  if (names.length > 0) await disk.syncDirectory(directory);
}

async function* headersOf(
  file: JournalFile,
  seal: ObjectSeal,
): AsyncGenerator<{ readonly header: RecordHeader; readonly at: number }> {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES);
  let at = JOURNAL_PAGE_BYTES;
  for (;;) {
    const count = await file.read(bytes, at);
    const header = decodeRecordHeader(seal, bytes.subarray(0, count));
    if (header === undefined) return;
    yield { header, at };
    at += paddedRecordBytes(header.plainBytes);
  }
}

/** What was synced when a record behind `end` was written, if that is `expected` or later. */
async function searchBeyond(
  file: JournalFile,
  seal: ObjectSeal,
  end: number,
  expected: number,
): Promise<number | undefined> {
  const bytes = new Uint8Array(SEARCH_BYTES);
  // The record at `end` itself was torn, or is none.
  for (let at = end + JOURNAL_PAGE_BYTES; ; at += SEARCH_BYTES) {
    const count = await file.read(bytes, at);
    for (let page = 0; page < count; page += JOURNAL_PAGE_BYTES) {
      const header = decodeRecordHeader(seal, bytes.subarray(page, count));
      if (header !== undefined && header.synced >= expected) return header.synced;
    }
    if (count < SEARCH_BYTES) return undefined;
  }
}

function lost(name: string, first: number, last: number): StorageError {
  const which = first === last ? `record ${first}` : `records ${first} to ${last}`;
  return new StorageError(
    'corrupt',
    `${which} of the journal ${name} cannot be read, but later ones can: acknowledged changes ` +
      'are damaged. "varve journal inspect" says what is there, and "varve journal discard" ' +
      'goes on without',
  );
}

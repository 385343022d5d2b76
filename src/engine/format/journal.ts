// A journal file: a header page, then records, each at a multiple of 4 KiB. Little endian.
//
//   header   0   8      10       11  12              16       32
//            magic│u16 version│u8 cipher│0│u32 sealed bytes│salt (16)│sealed frame, to 4096 zeroes
//            plaintext: text journal id │ text branch id │ varint epoch │ varint file number
//                       varint first sequence │ text host │ varint created, ms
//   record   0          4             8           16        24            32         40       56
//            u32 magic │u32 plain bytes│u53 sequence│u53 stored│u53 frame 0│u53 synced│tag (16)│
//            sealed frames
//
// The salt is fresh each time a file is used again: what an earlier use left behind does not open.
// `stored` is a sequence that the store was known to hold, `synced` one that was on stable storage
// when the record was written: of two that were not, a power cut may leave the second. Frames are
// of RECORD_FRAME_BYTES of plaintext but for the last, sealed as (journalData, frame 0 + i), never
// compressed; the tag is over the 40 bytes before it, as (journalRecord, frame 0).
//
//   record's plaintext:
//   varint segment │ varint metas × { text name │ u8 present │ present ? length-prefixed value }
//   varint runs × { varint first − previous end │ varint blocks } │ varint bytes │ block maps
//   blocks of those runs, in that order
//
// Block maps are coded as in a commit (records.ts) against the segment; a pointer's block index is
// looked up in the runs.

import { ByteReader, ByteWriter, readU53LE, writeU53LE } from '../../base/bytes.ts';
import { StorageError } from '../../base/errors.ts';
import {
  authenticate,
  FRAME_OVERHEAD_BYTES,
  FrameKind,
  openFrame,
  sealFrame,
  verifyAuthentic,
} from '../../codec/frame.ts';
import type { Keyring } from '../../codec/keyring.ts';
import { CIPHER_IDS, cipherFromId, type ObjectSeal, SALT_BYTES } from '../../codec/types.ts';

export const JOURNAL_MAGIC = 'VARVEJNL';
export const JOURNAL_VERSION = 1;
export const JOURNAL_PAGE_BYTES = 4096;
export const RECORD_FRAME_BYTES = 256 * 1024;
export const RECORD_HEADER_BYTES = 56;
/** More than a whole segment with its maps: a bound for what a damaged length may ask for. */
export const RECORD_PLAIN_BYTES_MAX = 64 * 1024 * 1024;

const RECORD_MAGIC = 0x31524a56;
const CLEAR_BYTES = 40;

export interface JournalHeader {
  readonly journal: string;
  /** Branch id. */
  readonly branch: string;
  /** Of the writer. */
  readonly epoch: number;
  /** Files of one journal are numbered without gaps. */
  readonly file: number;
  /** The first record has this sequence, or a later one. */
  readonly firstSequence: number;
  readonly host: string;
  readonly createdUnixMs: number;
}

export interface RecordHeader {
  readonly plainBytes: number;
  readonly sequence: number;
  readonly stored: number;
  readonly firstFrame: number;
  readonly synced: number;
}

/** The seal of a journal file: its name is that of no object. */
export function journalSeal(
  keyring: Keyring,
  branch: string,
  salt: Uint8Array,
  cipher = keyring.cipher,
): ObjectSeal {
  return keyring.sealFor(`journal/${branch}`, salt, cipher);
}

/** Fills the page at the start of `target`. */
export function encodeJournalHeader(
  seal: ObjectSeal,
  salt: Uint8Array,
  header: JournalHeader,
  target: Uint8Array,
): void {
  const plain = new ByteWriter(256);
  plain.text(header.journal);
  plain.text(header.branch);
  plain.varint(header.epoch);
  plain.varint(header.file);
  plain.varint(header.firstSequence);
  plain.text(header.host);
  plain.varint(header.createdUnixMs);
  target.fill(0, 0, JOURNAL_PAGE_BYTES);
  const page = target.subarray(0, JOURNAL_PAGE_BYTES);
  page.set(Buffer.from(JOURNAL_MAGIC, 'latin1'), 0);
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  view.setUint16(8, JOURNAL_VERSION, true);
  page[10] = CIPHER_IDS[seal.cipher];
  page.set(salt, 16);
  const kind = FrameKind.journalHeader;
  view.setUint32(12, sealFrame(seal, kind, 0, 'none', plain.view(), page, 32), true);
}

/** Undefined for a page that was never a header. `corrupt` for one that does not open. */
export function decodeJournalHeader(
  keyring: Keyring,
  branch: string,
  page: Uint8Array,
  what: string,
): { readonly header: JournalHeader; readonly seal: ObjectSeal } | undefined {
  if (page.length < JOURNAL_PAGE_BYTES) return undefined;
  if (Buffer.from(page.subarray(0, 8)).toString('latin1') !== JOURNAL_MAGIC) return undefined;
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  const version = view.getUint16(8, true);
  if (version !== JOURNAL_VERSION) {
    throw new StorageError('corrupt', `${what} is a journal of version ${version}, not known here`);
  }
  const cipher = cipherFromId(page[10]!);
  const sealedBytes = view.getUint32(12, true);
  const rest = page.subarray(32 + Math.min(sealedBytes, JOURNAL_PAGE_BYTES), JOURNAL_PAGE_BYTES);
  if (page[11] !== 0 || sealedBytes > JOURNAL_PAGE_BYTES - 32 || rest.some((byte) => byte !== 0)) {
    throw new StorageError('corrupt', `${what} has a header that makes no sense`);
  }
  const seal = journalSeal(keyring, branch, page.slice(16, 16 + SALT_BYTES), cipher);
  const sealed = page.subarray(32, 32 + sealedBytes);
  const plain = openFrame(seal, FrameKind.journalHeader, 0, sealed, JOURNAL_PAGE_BYTES);
  const reader = new ByteReader(plain, what);
  const header: JournalHeader = {
    journal: reader.text(),
    branch: reader.text(),
    epoch: reader.varint(),
    file: reader.varint(),
    firstSequence: reader.varint(),
    host: reader.text(),
    createdUnixMs: reader.varint(),
  };
  reader.expectEnd();
  return { header, seal };
}

/** Bytes of a record with so much plaintext, the padding left out. */
export function recordBytes(plainBytes: number): number {
  const frames = Math.ceil(plainBytes / RECORD_FRAME_BYTES);
  return RECORD_HEADER_BYTES + plainBytes + frames * FRAME_OVERHEAD_BYTES;
}

/** Rounded up to whole pages. */
export function paddedRecordBytes(plainBytes: number): number {
  return Math.ceil(recordBytes(plainBytes) / JOURNAL_PAGE_BYTES) * JOURNAL_PAGE_BYTES;
}

/** Plaintext lengths of a record's frames. */
export function recordFrames(plainBytes: number): Uint32Array {
  const lengths = new Uint32Array(Math.ceil(plainBytes / RECORD_FRAME_BYTES));
  lengths.fill(RECORD_FRAME_BYTES);
  if (lengths.length > 0) {
    lengths[lengths.length - 1] = plainBytes - (lengths.length - 1) * RECORD_FRAME_BYTES;
  }
  return lengths;
}

export function encodeRecordHeader(
  seal: ObjectSeal,
  header: RecordHeader,
  target: Uint8Array,
): void {
  const view = new DataView(target.buffer, target.byteOffset, RECORD_HEADER_BYTES);
  view.setUint32(0, RECORD_MAGIC, true);
  view.setUint32(4, header.plainBytes, true);
  writeU53LE(view, 8, header.sequence);
  writeU53LE(view, 16, header.stored);
  writeU53LE(view, 24, header.firstFrame);
  writeU53LE(view, 32, header.synced);
  const clear = target.subarray(0, CLEAR_BYTES);
  const tag = target.subarray(CLEAR_BYTES, RECORD_HEADER_BYTES);
  authenticate(seal, FrameKind.journalRecord, header.firstFrame, clear, tag);
}

/** Undefined for bytes that are no record of this use of the file. */
export function decodeRecordHeader(seal: ObjectSeal, bytes: Uint8Array): RecordHeader | undefined {
  if (bytes.length < RECORD_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, RECORD_HEADER_BYTES);
  if (view.getUint32(0, true) !== RECORD_MAGIC) return undefined;
  const plainBytes = view.getUint32(4, true);
  if (plainBytes === 0 || plainBytes > RECORD_PLAIN_BYTES_MAX) return undefined;
  try {
    const firstFrame = readU53LE(view, 24);
    const clear = bytes.subarray(0, CLEAR_BYTES);
    const tag = bytes.subarray(CLEAR_BYTES, RECORD_HEADER_BYTES);
    verifyAuthentic(seal, FrameKind.journalRecord, firstFrame, clear, tag);
    return {
      plainBytes,
      sequence: readU53LE(view, 8),
      stored: readU53LE(view, 16),
      firstFrame,
      synced: readU53LE(view, 32),
    };
  } catch (error) {
    if (error instanceof StorageError) return undefined;
    throw error;
  }
}

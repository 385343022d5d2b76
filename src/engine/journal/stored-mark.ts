// A slot that says of a journal that the store holds all of it: written before a manifest stops
// naming that journal. Who finds both then knows that nothing was lost (admit.ts).
//
//   <first digits of the id>-stored.journal: a header page with the next file number, one record of
//   the next sequence that says nothing but `stored`

import { FrameKind, sealFrame } from '../../codec/frame.ts';
import type { Rng } from '../../base/rng.ts';
import { SALT_BYTES } from '../../codec/types.ts';
import {
  encodeJournalHeader,
  encodeRecordHeader,
  JOURNAL_PAGE_BYTES,
  type JournalHeader,
  journalSeal,
  paddedRecordBytes,
  RECORD_HEADER_BYTES,
} from '../format/journal.ts';
import { encodeChangeHead } from '../format/journal-change.ts';
import { NO_DELTA } from './journaler.ts';
import type { ReadJournalComponents } from './read-journal.ts';

export interface StoredMarkComponents extends ReadJournalComponents {
  readonly rng: Rng;
}

/** `last` is the header of the newest slot. Gives the file's name; it is durable. */
export async function putStoredMark(
  { disk, keyring, rng }: StoredMarkComponents,
  directory: string,
  last: JournalHeader,
  sequence: number,
): Promise<string> {
  const { journal, branch, file: number } = last;
  const salt = rng.bytes(SALT_BYTES);
  const seal = journalSeal(keyring, branch, salt);
  const plain = encodeChangeHead(1, NO_DELTA);
  const bytes = new Uint8Array(JOURNAL_PAGE_BYTES + paddedRecordBytes(plain.length));
  const header = { ...last, file: number + 1, firstSequence: sequence };
  encodeJournalHeader(seal, salt, header, bytes);
  const record = bytes.subarray(JOURNAL_PAGE_BYTES);
  sealFrame(seal, FrameKind.journalData, 0, 'none', plain, record, RECORD_HEADER_BYTES);
  encodeRecordHeader(
    seal,
    // What was torn before it stays torn: it vouches for no record.
    { plainBytes: plain.length, sequence, stored: sequence, firstFrame: 0, synced: 0 },
    record.subarray(0, RECORD_HEADER_BYTES),
  );
  const name = `${journal.slice(0, 8)}-stored.journal`;
  const file = await disk.open(directory, name);
  try {
    await file.write([bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.syncDirectory(directory);
  return name;
}

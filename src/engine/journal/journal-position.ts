// The named record that ties the bucket to the journal: the state that holds it includes the
// records of that journal up to that sequence (RFC 0004).
//
//   text journal id │ varint sequence

import { ByteReader, ByteWriter } from '../../base/bytes.ts';

export const JOURNAL_META = 'engine/journal';

export interface JournalPosition {
  readonly journal: string;
  readonly sequence: number;
}

export function encodePosition({ journal, sequence }: JournalPosition): Uint8Array {
  const out = new ByteWriter(64);
  out.text(journal);
  out.varint(sequence);
  return out.finish();
}

/** The sequence behind which `journal` has something to add to a state with such a record. */
export function sequenceIn(record: Uint8Array | undefined, journal: string): number {
  if (record === undefined) return 0;
  const reader = new ByteReader(record, `record ${JOURNAL_META}`);
  const id = reader.text();
  const sequence = reader.varint();
  reader.expectEnd();
  return id === journal ? sequence : 0;
}

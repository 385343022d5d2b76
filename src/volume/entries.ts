// The volumes of a branch as its records say: read into entries, and written back.
//
// A crash may come between two records: the directory never names a volume that has none.

import { compareBytes } from '../base/bytes.ts';
import { StorageError } from '../base/errors.ts';
import type { Database } from '../engine/db.ts';
import {
  decodeDirectory,
  decodeRecord,
  DIRECTORY_RECORD,
  encodeDirectory,
  encodeRecord,
  recordName,
} from './records.ts';

/** Each is cut short by another change of the directory. */
const LOAD_ATTEMPTS = 10;
/** Inodes below are kept for the file system's own. */
export const FIRST_INODE = 16;

export interface Entry {
  readonly inode: number;
  sizeBytes: number;
  /** How many have it open. */
  handles: number;
}

export interface Entries {
  readonly nextInode: number;
  readonly byName: Map<string, Entry>;
}

/** What the records say now; a volume that `known` has keeps its entry, brought up to date. */
export async function readEntries(
  database: Database,
  known: ReadonlyMap<string, Entry>,
): Promise<Entries> {
  for (let attempt = 1; attempt <= LOAD_ATTEMPTS; attempt++) {
    const entries = await tryRead(database, known);
    if (entries !== undefined) return entries;
  }
  throw new StorageError('unavailable', 'the directory of volumes changes faster than it is read');
}

/** Undefined when a follower moved on between the directory and its records. */
async function tryRead(
  database: Database,
  known: ReadonlyMap<string, Entry>,
): Promise<Entries | undefined> {
  const byName = new Map<string, Entry>();
  const bytes = await database.meta(DIRECTORY_RECORD);
  const directory =
    bytes === undefined ? { nextInode: FIRST_INODE, names: [] } : decodeDirectory(bytes);
  for (const name of directory.names) {
    const record = await database.meta(recordName(name));
    if (record === undefined) {
      const now = await database.meta(DIRECTORY_RECORD);
      if (now === undefined || compareBytes(bytes!, now) !== 0) return undefined;
      throw new StorageError('corrupt', `volume "${name}" has no record`);
    }
    const { inode, sizeBytes } = decodeRecord(name, record);
    const before = known.get(name);
    // Who has it open counts down on the entry that was found then.
    const entry = before?.inode === inode ? before : { inode, sizeBytes: 0, handles: 0 };
    entry.sizeBytes = sizeBytes;
    byName.set(name, entry);
  }
  return { nextInode: directory.nextInode, byName };
}

/**
 * Writes the record of one of `entries`, or deletes it when it is not among them any more, and the
 * directory; makes both durable.
 */
export async function saveEntry(database: Database, entries: Entries, name: string): Promise<void> {
  const entry = entries.byName.get(name);
  if (entry !== undefined) await database.putMeta(recordName(name), encodeRecord(entry));
  await saveDirectory(database, entries);
  if (entry === undefined) await database.putMeta(recordName(name), undefined);
  await database.barrier();
}

export function saveDirectory(database: Database, { nextInode, byName }: Entries): Promise<void> {
  return database.putMeta(DIRECTORY_RECORD, encodeDirectory(nextInode, byName.keys()));
}

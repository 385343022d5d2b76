// For `varve journal`: what lies in a directory of journals, without a server.

import { StorageError } from '../../base/errors.ts';
import { decodeChange } from '../format/journal-change.ts';
import { BLOCK_BYTES, CHUNK_BYTES, POINTER_MIN } from '../format/pointer.ts';
import {
  findJournals,
  type FoundJournal,
  type JournalSummary,
  type ReadJournalComponents,
  removeSlots,
} from './read-journal.ts';

export interface LocalJournalInfo extends JournalSummary {
  /** Branch id. */
  readonly branch: string;
}

/** One change of an exported journal; `data` is borrowed. */
export interface ExportedChange {
  readonly sequence: number;
  readonly inode?: number;
  /** Bytes [offset, offset + length) of the file. */
  readonly offset?: number;
  readonly length?: number;
  /** Undefined: they are zeroes. */
  readonly data?: Uint8Array;
  /** A named record, and its value unless it was deleted. */
  readonly record?: string;
}

/** All journals below `directory`, of whatever branch. */
export async function listJournals(
  components: ReadJournalComponents,
  directory: string,
): Promise<readonly LocalJournalInfo[]> {
  const infos: LocalJournalInfo[] = [];
  for (const branch of (await components.disk.list(directory)).toSorted()) {
    for (const journal of await findJournals(components, `${directory}/${branch}`, branch)) {
      infos.push({ branch, ...(await journal.summary()) });
    }
  }
  return infos;
}

/** Every change that the store may lack, in order. `notFound`, or `corrupt` where it is damaged. */
export async function* exportJournal(
  components: ReadJournalComponents,
  directory: string,
  id: string,
): AsyncGenerator<ExportedChange> {
  const { journal, info } = await find(components, directory, id);
  for await (const { sequence, plain } of journal.records(info.stored)) {
    const change = decodeChange(plain, `record ${sequence}`);
    for (const [record, value] of change.metas) {
      yield { sequence, record, ...(value === undefined ? {} : { data: value }) };
    }
    const changes: ExportedChange[] = [];
    change.forEachChunk((inode, chunk, state) => {
      for (let block = 0; block < state.length; block++) {
        const from = (state[block]! - POINTER_MIN) * BLOCK_BYTES;
        if (state[block] === 0) continue;
        const offset = chunk * CHUNK_BYTES + block * BLOCK_BYTES;
        const at = { sequence, inode, offset, length: BLOCK_BYTES };
        changes.push(
          from < 0 ? at : { ...at, data: change.data.subarray(from, from + BLOCK_BYTES) },
        );
      }
    });
    yield* changes;
  }
}

/** Removes a journal, whatever it holds. `notFound`. */
export async function discardJournal(
  components: ReadJournalComponents,
  directory: string,
  id: string,
): Promise<LocalJournalInfo> {
  const { journal, info } = await find(components, directory, id);
  const names = new Set(journal.names);
  await removeSlots(components.disk, `${directory}/${info.branch}`, (name) => names.has(name));
  return info;
}

/** By its id, or the beginning of it. */
async function find(
  components: ReadJournalComponents,
  directory: string,
  id: string,
): Promise<{ readonly journal: FoundJournal; readonly info: LocalJournalInfo }> {
  const infos = await listJournals(components, directory);
  const fitting = infos.filter((one) => one.id.startsWith(id));
  const [info] = fitting;
  if (info === undefined || fitting.length > 1 || id === '') {
    const known = infos.map((one) => one.id).join(', ') || 'none';
    throw new StorageError('notFound', `there is no one journal "${id}"; there is: ${known}`);
  }
  const found = await findJournals(components, `${directory}/${info.branch}`, info.branch);
  return { journal: found.find((one) => one.id === info.id)!, info };
}

// All commits that lie in a branch's log, as their own records tell them: without a manifest that
// says where the log begins, with gaps where objects were collected or lost.
//
//   1. List the log; open the tail of every object, several at a time, in order.
//   2. Behind a fence skip what lies before its `resumeAt`: void, as in replay.
//   3. A fence that cannot be read leaves void commits in: they are told by their epoch. Once a
//      writer of epoch e has committed segment s, commits of lower epochs are below s.
//
// Memory: the records, as long as the result is held; no data.

import { isStorageError, messageOf } from '../../base/errors.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { logName, logPrefix, numberOf } from '../format/names.ts';
import { type CommitRecord, RECORD_DATA, RECORD_FENCE } from '../format/records.ts';
import { openTail } from '../log/object-tail.ts';
import { tableOf } from '../log/replay.ts';
import { isDamage } from './report.ts';

export interface ScannedCommit {
  readonly logNumber: number;
  readonly name: string;
  readonly commit: CommitRecord;
  readonly table: FrameTable;
}

export interface LogScan {
  /** In order of their segments. */
  readonly commits: readonly ScannedCommit[];
  /** Log numbers of fences. */
  readonly fences: readonly number[];
  readonly damaged: readonly { readonly name: string; readonly what: string }[];
  /** Of all objects in the log, readable or not, void or not; 0 for none. */
  readonly highestNumber: number;
  readonly highestEpoch: number;
  readonly highestSegment: number;
}

const FETCHES_MAX = 16;

interface Opened {
  readonly number: number;
  readonly name: string;
  readonly tail: Awaited<ReturnType<typeof openTail>> | undefined;
  readonly what: string;
}

export async function scanLog(
  components: { readonly store: ObjectStore; readonly keyring: Keyring },
  branch: string,
  onProgress: (done: number, total: number) => void,
): Promise<LogScan> {
  const numbers: number[] = [];
  for await (const page of components.store.list(logPrefix(branch), { cause: 'admin' })) {
    for (const { key } of page) numbers.push(numberOf(key) ?? 0);
  }
  const commits: ScannedCommit[] = [];
  const fences: number[] = [];
  const damaged: { name: string; what: string }[] = [];
  let resumeAt = 0;
  let highestEpoch = 0;
  let highestSegment = 0;
  for (let at = 0; at < numbers.length; at += FETCHES_MAX) {
    const part = numbers.slice(at, at + FETCHES_MAX);
    for (const opened of await Promise.all(
      part.map((number) => open(components, branch, number)),
    )) {
      const { number, name, tail, what } = opened;
      if (tail === undefined) {
        if (what !== '') damaged.push({ name, what });
        continue;
      }
      const { record, footer } = tail;
      highestEpoch = Math.max(highestEpoch, record.epoch);
      if (record.type === RECORD_FENCE) {
        fences.push(number);
        if (number >= resumeAt) ({ resumeAt } = record);
      } else if (record.type === RECORD_DATA) {
        damaged.push({ name, what: 'holds a data object' });
      } else {
        highestSegment = Math.max(highestSegment, record.segment);
        if (number < resumeAt) continue;
        const table = tableOf(number, footer, record);
        commits.push({ logNumber: number, name, commit: record, table });
      }
    }
    onProgress(Math.min(at + FETCHES_MAX, numbers.length), numbers.length);
  }
  const highestNumber = numbers.at(-1) ?? 0;
  const sound = withoutVoid(commits);
  return { commits: sound, fences, damaged, highestNumber, highestEpoch, highestSegment };
}

async function open(
  components: { readonly store: ObjectStore; readonly keyring: Keyring },
  branch: string,
  number: number,
): Promise<Opened> {
  const name = logName(branch, number);
  try {
    return { number, name, tail: await openTail(components, name, 'admin'), what: '' };
  } catch (error) {
    // Collected since the listing.
    if (isStorageError(error, 'notFound')) return { number, name, tail: undefined, what: '' };
    if (!isDamage(error)) throw error;
    return { number, name, tail: undefined, what: messageOf(error) };
  }
}

/** Step 3. */
function withoutVoid(commits: readonly ScannedCommit[]): ScannedCommit[] {
  const sorted = commits.toSorted(
    (a, b) => a.commit.segment - b.commit.segment || b.commit.epoch - a.commit.epoch,
  );
  let epoch = 0;
  let segment = 0;
  return sorted.filter(({ commit }) => {
    if (commit.epoch < epoch || commit.segment === segment) return false;
    ({ epoch, segment } = commit);
    return true;
  });
}

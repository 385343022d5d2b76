// Reading the log back: the longest prefix of contiguous log objects from where the manifest says.
//
// 1. List the log from the start position. Numbers that follow each other without a gap are the
//    candidates; their records are fetched ahead, several at a time, a suffix of each object.
// 2. Apply them in order. After a fence go on at its `resumeAt`: what lies between is void, left
//    behind by the deposed writer.
// 3. At the first number that is missing the prefix ends. An object beyond it whose record says
//    that the missing number had been durable proves that an acknowledged object was lost: that is
//    `corrupt`.
//
// A listing may be out of date; the caller's fence, a PUT-if-absent at the end of the prefix,
// settles it.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import type { Footer } from '../format/log-object.ts';
import { logName, logPrefix, numberOf } from '../format/names.ts';
import {
  RECORD_DATA,
  RECORD_FENCE,
  type CommitRecord,
  type FenceRecord,
} from '../format/records.ts';
import { offsetsOf, type FrameTable } from '../format/frame-table.ts';
import { LOG_WINDOW } from './uploads.ts';
import { openTail } from './object-tail.ts';

/** Records under way at a time. */
const FETCHES_MAX = 32;

export interface ReplayPosition {
  logNumber: number;
  nextSegment: number;
  /** Epoch of the last fence that was passed. */
  epoch: number;
}

export interface ReplayedCommit {
  readonly name: string;
  readonly commit: CommitRecord;
  readonly table: FrameTable;
}

export interface ReplayOptions {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly branch: string;
  /** Our own epoch: an object of a higher one means that someone has taken over from us. */
  readonly ownEpoch: number;
  readonly apply: (replayed: ReplayedCommit) => void;
  /**
   * Asked behind each listing that has objects, before one of them is applied: what it throws ends
   * the replay.
   */
  readonly beforeApply?: (() => Promise<void>) | undefined;
  /** Told of each fence that replay passes. */
  readonly onFence: (logNumber: number) => void;
  /** Called now and then with objects applied and objects known. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

interface Opened {
  readonly name: string;
  readonly record: CommitRecord | FenceRecord;
  readonly table: FrameTable;
}

/** Applies the log from `position` on and moves it to the first missing number. */
export async function replayLog(options: ReplayOptions, position: ReplayPosition): Promise<void> {
  for (;;) {
    const present = await listLog(options, position.logNumber);
    if (present.size > 0) await options.beforeApply?.();
    const ahead = createFetchAhead(options, present);
    for (let done = 1; ; done++) {
      const opened = await ahead.take(position.logNumber);
      if (opened === undefined) break;
      applyOne(options, position, opened);
      options.onProgress?.(done, present.size);
    }
    if (await endsHere(options, position, present)) return;
  }
}

/** The numbers of all log objects from `first` on. */
async function listLog(options: ReplayOptions, first: number): Promise<Set<number>> {
  const present = new Set<number>();
  const listing = options.store.list(logPrefix(options.branch), {
    cause: 'open',
    startAfter: logName(options.branch, first - 1),
  });
  for await (const page of listing) {
    for (const object of page) {
      const number = numberOf(object.key);
      if (number !== undefined) present.add(number);
    }
  }
  return present;
}

/**
 * Applies one object at `position`, or throws: `fenced` for a newer writer's, `corrupt` for the
 * impossible.
 */
function applyOne(options: ReplayOptions, position: ReplayPosition, opened: Opened): void {
  const { name, record, table } = opened;
  if (record.epoch > options.ownEpoch) {
    throw new StorageError(
      'fenced',
      `another writer (epoch ${record.epoch}) is taking over: ${name}`,
    );
  }
  if (record.type === RECORD_FENCE) {
    if (record.epoch <= position.epoch || record.resumeAt <= position.logNumber) {
      throw new StorageError('corrupt', `${name} is a fence that goes backwards`);
    }
    options.onFence(position.logNumber);
    position.epoch = record.epoch;
    position.logNumber = record.resumeAt;
    return;
  }
  if (record.epoch !== position.epoch || record.segment !== position.nextSegment) {
    throw new StorageError(
      'corrupt',
      `${name} holds segment ${record.segment} of epoch ${record.epoch}, expected segment ` +
        `${position.nextSegment} of epoch ${position.epoch}`,
    );
  }
  options.apply({ name, commit: record, table });
  position.nextSegment += 1;
  position.logNumber += 1;
}

/**
 * Fetches records of present numbers ahead of the reader. A number that was not listed ends the
 * pass: to probe for it would be to run after a writer that is just as fast.
 */
function createFetchAhead(options: ReplayOptions, present: ReadonlySet<number>) {
  const flying = new Map<number, Promise<Opened | undefined>>();
  let next = 0;
  return {
    take(number: number): Promise<Opened | undefined> {
      next = Math.max(next, number);
      for (; flying.size < FETCHES_MAX && present.has(next); next++) {
        const fetching = openLogObject(options, next);
        // The reader awaits it in its turn; until then a failure is not unhandled.
        fetching.catch(() => {});
        flying.set(next, fetching);
      }
      const taken = flying.get(number) ?? Promise.resolve(undefined);
      for (const stale of flying.keys()) if (stale <= number) flying.delete(stale);
      return taken;
    },
  };
}

/** The record of a log object, or undefined when there is no such object. */
async function openLogObject(options: ReplayOptions, number: number): Promise<Opened | undefined> {
  const name = logName(options.branch, number);
  try {
    const { record, footer, dataBytes } = await openTail(options, name, 'open');
    if (record.type === RECORD_DATA) {
      throw new StorageError('corrupt', `${name} holds a data object`);
    }
    const table = tableOf(number, footer, record);
    const ownBytes = table.dataId === 0 ? table.offsets.at(-1)! : 0;
    if (ownBytes !== dataBytes) {
      throw new StorageError('corrupt', `the frames of ${name} do not fill it`);
    }
    return { name, record, table };
  } catch (error) {
    if (isStorageError(error, 'notFound')) return undefined;
    throw error;
  }
}

export function tableOf(
  logNumber: number,
  footer: Footer,
  record: CommitRecord | FenceRecord,
): FrameTable {
  if (record.type === RECORD_FENCE) {
    const { cipher, salt } = footer;
    const offsets = offsetsOf([]);
    return { logNumber, dataId: 0, cipher, salt, blocks: 0, blocksPerFrame: 1, offsets };
  }
  const { blocks, blocksPerFrame, frameLengths, data } = record;
  const { cipher, salt } = data ?? footer;
  const offsets = offsetsOf(frameLengths);
  return { logNumber, dataId: data?.id ?? 0, cipher, salt, blocks, blocksPerFrame, offsets };
}

/**
 * Step 3. False when the missing object has appeared meanwhile, because its writer is still at
 * work: replay goes on. Throws `corrupt` when an object beyond it proves that it had been durable.
 */
async function endsHere(
  options: ReplayOptions,
  position: ReplayPosition,
  present: ReadonlySet<number>,
): Promise<boolean> {
  const missing = position.logNumber;
  for (const number of present) {
    if (number <= missing) continue;
    if (number < missing + LOG_WINDOW) {
      const opened = await openLogObject(options, number);
      if (opened === undefined || opened.record.type === RECORD_FENCE) continue;
      if (opened.record.epoch !== position.epoch) continue;
      if (opened.record.durableBefore <= missing) continue;
    }
    // The listing may be older than the object: look again before calling it lost.
    if ((await openLogObject(options, missing)) !== undefined) return false;
    throw lostObject(options, missing, number);
  }
  return true;
}

function lostObject(options: ReplayOptions, missing: number, witness: number): StorageError {
  return new StorageError(
    'corrupt',
    `log object ${logName(options.branch, missing)} is missing, but ${witness} proves that ` +
      'it was durable: acknowledged writes are lost; restore it from a copy of the bucket',
  );
}

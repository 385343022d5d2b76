// Devices that take no writes while a flush has failed and none has succeeded since (RFC 0006): who
// ignores the failure of a flush, as ZFS does, must not take what follows for written, and must not
// wait for the whole of its time again in each flush.

import type { Clock } from '../base/clock.ts';
import { isStorageError, messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Maybe } from '../base/maybe.ts';
import type { Database } from '../engine/db.ts';
import type { BlockDeviceDirectory } from './block-device.ts';

/** Between attempts to flush. Each waits for the store, as every flush does. */
const PAUSE_MS = 1000;

export interface FailedFlushDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** All of its devices are files of it. */
  readonly database: Pick<Database, 'barrier' | 'refuseWaiting'>;
}

/** What its devices share is the branch: a flush is one of all of them. */
export function refuseWritesBehindFailedFlush(
  directory: BlockDeviceDirectory,
  { clock, log, database }: FailedFlushDeps,
): BlockDeviceDirectory {
  let failure: string | undefined;

  function refusal(): StorageError {
    const what = 'no writes and flushes are taken until the store answers again, as one has failed';
    return new StorageError('unavailable', `${what}: ${failure}`);
  }

  function check(): void {
    if (failure !== undefined) throw refusal();
  }

  function watched(flushing: Maybe<void>): Maybe<void> {
    return flushing?.catch((error: unknown) => {
      if (failure === undefined) {
        failure = messageOf(error);
        log.error('writes.refused', { error: failure });
        database.refuseWaiting(refusal());
        void recover();
      }
      throw error;
    });
  }

  async function recover(): Promise<void> {
    for (;;) {
      try {
        await database.barrier();
        failure = undefined;
        log.info('writes.accepted', {});
        return;
      } catch (error) {
        // A branch that is closed, or another's, takes no writes ever again.
        if (isStorageError(error, 'aborted') || isStorageError(error, 'fenced')) return;
      }
      await clock.sleep(PAUSE_MS);
    }
  }

  return {
    list: () => directory.list(),
    open(name) {
      const device = directory.open(name);
      return {
        ...device,
        write(offset, source) {
          check();
          return device.write(offset, source);
        },
        trim(offset, lengthBytes) {
          check();
          return device.trim(offset, lengthBytes);
        },
        writeZeroes(offset, lengthBytes, allocate) {
          check();
          return device.writeZeroes(offset, lengthBytes, allocate);
        },
        flush() {
          check();
          return watched(device.flush());
        },
      };
    },
  };
}

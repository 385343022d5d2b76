// A volume is a file of the engine with a name and a size, seen as a block device.

import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import type { Maybe } from '../base/maybe.ts';
import { createReadAhead } from '../cache/read-ahead.ts';
import { BLOCK_BYTES, type Database } from '../engine/db.ts';
import type { BlockDevice, Extent } from './block-device.ts';

/** A sequential reader is served from memory at most this far ahead of it. */
const READ_AHEAD_BYTES_MAX = 8 * 1024 * 1024;

export interface VolumeHandleOptions {
  readonly database: Database;
  readonly inode: number;
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  /** How far sequential reads are anticipated; 0 for never. */
  readonly readAheadBytes: number;
  readonly onClose: () => void;
}

export function createVolumeHandle(options: VolumeHandleOptions): BlockDevice {
  const { database, inode, name, description, sizeBytes } = options;
  const distanceBytesMax = Math.min(READ_AHEAD_BYTES_MAX, options.readAheadBytes);
  const readAhead = createReadAhead({ deviceBytes: sizeBytes, distanceBytesMax });
  let open = true;

  function check(offset: number, lengthBytes: number): void {
    assert(open, `volume handle ${name} is open`);
    if (offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= sizeBytes) return;
    throw new StorageError(
      'invalid',
      `bytes [${offset}, ${offset + lengthBytes}) are not within volume "${name}" of ${sizeBytes}`,
    );
  }

  function anticipate(offset: number, lengthBytes: number): void {
    const ahead = readAhead.observe(offset, lengthBytes);
    if (ahead === undefined) return;
    // A guess that fails costs the reader nothing: its own read will meet the error.
    database.prefetch(inode, ahead.start, ahead.end).catch(() => {});
  }

  return {
    name,
    description,
    sizeBytes,
    readOnly: database.readOnly,
    read(offset, target) {
      check(offset, target.length);
      const reading = database.read(inode, offset, target);
      anticipate(offset, target.length);
      return reading;
    },
    write(offset, source) {
      check(offset, source.length);
      return database.write(inode, offset, source);
    },
    trim(offset, lengthBytes): Maybe<void> {
      check(offset, lengthBytes);
      return lengthBytes === 0 ? undefined : database.zero(inode, offset, lengthBytes, false);
    },
    writeZeroes(offset, lengthBytes, allocate): Maybe<void> {
      check(offset, lengthBytes);
      return lengthBytes === 0 ? undefined : database.zero(inode, offset, lengthBytes, allocate);
    },
    flush: () => database.barrier(),
    blockStatus(offset, lengthBytes, extentsMax): Maybe<readonly Extent[]> {
      check(offset, lengthBytes);
      return database.extents(inode, offset, lengthBytes, extentsMax);
    },
    prefetch(offset, lengthBytes) {
      check(offset, lengthBytes);
      const end = Math.min(
        sizeBytes,
        Math.ceil((offset + lengthBytes) / BLOCK_BYTES) * BLOCK_BYTES,
      );
      return database.prefetch(inode, offset, end);
    },
    close() {
      assert(open, `volume handle ${name} is closed once`);
      open = false;
      options.onClose();
    },
  };
}

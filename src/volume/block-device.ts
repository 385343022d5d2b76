// What a block protocol serves: the boundary between src/server/ and src/volume/. Offsets and
// lengths are bytes.
//
// Calls that can be answered from memory return without a promise (`undefined`); the others return
// one. All calls check that [offset, offset + length) lies within `sizeBytes` and throw
// StorageError `invalid` when it does not. Any byte range is allowed; whole 4 KiB blocks are
// fastest. Calls that overlap in time may take effect in any order; a call that begins after
// another has completed sees it.

import type { Maybe } from '../base/maybe.ts';

export type { Maybe };

export interface Extent {
  readonly lengthBytes: number;
  /** Nothing is stored for the range: it takes no space. */
  readonly hole: boolean;
  /** Reads give zeroes. Every hole reads as zeroes. */
  readonly zero: boolean;
}

export interface BlockDevice {
  readonly name: string;
  /** For people: shown by clients as the export's description. */
  readonly description: string;
  /**
   * Size when this handle was opened; a later grow is seen by new handles only. Multiple of 4096.
   */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Fills `target` from `offset`. `target` is borrowed until the call settles. */
  read(offset: number, target: Uint8Array): Maybe<void>;
  /**
   * Stores `source` at `offset`. `source` is borrowed until the call settles. Back-pressure is a
   * promise.
   */
  write(offset: number, source: Uint8Array): Maybe<void>;
  /** Drops what is stored; the range reads as zeroes and is a hole. */
  trim(offset: number, lengthBytes: number): Maybe<void>;
  /**
   * The range reads as zeroes; with `allocate` it is not reported as a hole. Never writes data
   * blocks.
   */
  writeZeroes(offset: number, lengthBytes: number, allocate: boolean): Maybe<void>;
  /** Everything that completed before the call is durable, on whatever handle it was written. */
  flush(): Maybe<void>;
  /**
   * Extents that cover a prefix of the range: at least one, at most `extentsMax`, neighbours of one
   * state merged.
   */
  blockStatus(offset: number, lengthBytes: number, extentsMax: number): Maybe<readonly Extent[]>;
  /** Brings the range into the cache. */
  prefetch(offset: number, lengthBytes: number): Maybe<void>;
  /** Releases the handle; no call may be under way. */
  close(): void;
}

/** Where a server finds its devices. */
export interface BlockDeviceDirectory {
  list(): readonly {
    readonly name: string;
    readonly description: string;
    readonly sizeBytes: number;
  }[];
  /** Throws StorageError `notFound`. Every open handle must be closed. */
  open(name: string): BlockDevice;
}

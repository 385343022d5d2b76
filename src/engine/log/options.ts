// What a commit log is built from: settings, where it starts, components, and whom it tells.

import type { Clock } from '../../base/clock.ts';
import type { StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import type { FrameTable } from '../format/frame-table.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { SealComponents, SealSettings } from './seal-segment.ts';
import type { Segment } from './segment.ts';
import type { Spool } from './spool.ts';

export interface CommitLogSettings extends SealSettings {
  readonly segmentBytes: number;
  readonly arenas: number;
  /** A segment that no barrier closes is closed after this long. */
  readonly idleCloseMs: number;
  /** Chunks that one segment may change: bounds its record (a trim stores no blocks). */
  readonly touchedChunksMax: number;
}

export interface CommitLogStart {
  readonly branch: string;
  readonly epoch: number;
  readonly logNumber: number;
  readonly nextSegment: number;
}

export interface CommitLogHooks {
  /** The memtable that the next segment's changes go to; called when a segment opens. */
  readonly memtable: () => Memtable;
  /** Of a segment that has closed: these of its blocks shall be kept for readers. */
  readonly onClosed: (segment: Segment, firstBlock: number, count: number) => void;
  /**
   * Once a segment's object can be read from the store or the spool; the arena is reused
   * afterwards.
   */
  readonly onReadable: (segment: Segment, table: FrameTable) => void;
  /** In segment order, behind `onReadable`, once the object is durable. */
  readonly onDurable: (segment: Segment, table: FrameTable) => void;
  /** The log has stopped for good. */
  readonly onFailed: (error: StorageError) => void;
}

export interface CommitLogComponents extends SealComponents {
  readonly store: ObjectStore;
  /** Of the journal tier: where segments wait for the store. */
  readonly spool?: Spool | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

// What the log wants of a journal: journal/journal-tier.ts is one (RFC 0004).

import type { StorageError } from '../../base/errors.ts';
import type { Segment } from './segment.ts';

export interface LogJournal {
  /** False when a barrier must wait for the store: the journal has failed, or trails too far. */
  takesBarriers(lag: LogLag): boolean;
  /** What changed before the call is in the journal, durable, when it settles. */
  barrier(): void | Promise<void>;
  /** Something is about to be changed, in this very turn. */
  changed(): void;
  /**
   * Takes what is left of a closing segment, whose `awaitsJournal` says whether its memory is
   * wanted until `taken`; gives the sequence that the state behind the segment includes.
   */
  closing(segment: Segment): number;
  /** The store holds what the journal's records up to here say. */
  onStored(sequence: number): void;
  stop(error: StorageError): void;
}

/** What the store does not hold yet. */
export interface LogLag {
  readonly bytes: number;
  /** When the oldest of them were written. */
  readonly sinceMs: number | undefined;
}

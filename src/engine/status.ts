// What the engine tells of itself.

import type { BlockCache } from '../cache/block-cache.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import type { JournalStatus } from './journal/journal-tier.ts';
import type { FollowerStatus } from './follow/follower.ts';

export interface DatabaseStatus {
  readonly branch: string;
  readonly epoch: number;
  /** Number of the newest manifest, 0 of a read-only server. */
  readonly manifest: number;
  readonly durability: 'store' | 'journal';
  /** Of the journal tier. */
  readonly journal: JournalStatus | undefined;
  /** The newest segment that a barrier acknowledged. */
  readonly acknowledged: number;
  /** The newest segment that the store holds together with all before it. */
  readonly durable: number;
  /**
   * Bytes written that the store does not hold yet, and for how long the oldest of them have
   * waited.
   */
  readonly lagBytes: number;
  readonly lagSeconds: number;
  readonly barriers: number;
  readonly segments: number;
  readonly flushes: number;
  readonly compactions: number;
  readonly runs: number;
  /** Sizes as the last survey found them; undefined before the first. */
  readonly collection: {
    readonly storedBytes: number | undefined;
    readonly liveBytes: number | undefined;
    /** Kept by snapshots and branches. */
    readonly pinnedBytes: number | undefined;
    readonly movedBytes: number;
    /** How often writers had to wait for the collector. */
    readonly waits: number;
    readonly deletedObjects: number;
    readonly deletedBytes: number;
  };
  /** Of a read-only server that follows a branch, or serves a snapshot. */
  readonly following: FollowerStatus | undefined;
  readonly cache: {
    readonly memory: ReturnType<BlockCache['stats']>;
    readonly disk: ReturnType<DiskCache['stats']> | undefined;
  };
}

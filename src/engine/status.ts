// What the engine tells of itself.

import type { BlockCache } from '../cache/block-cache.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import type { JournalStatus } from './journal/journal-tier.ts';
import type { Follower, FollowerStatus } from './follow/follower.ts';
import type { Tree } from './tree.ts';
import type { Writer } from './writer.ts';

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

/** An open branch, as far as it tells of itself. */
export interface StatusSources {
  readonly branch: string;
  /** Of the manifest that it was opened with, or claimed. */
  readonly epoch: number;
  /** The newest segment that a barrier acknowledged. */
  readonly acknowledged: number;
  readonly nowMs: number;
  readonly tree: Tree;
  readonly cache: BlockCache;
  readonly diskCache: DiskCache | undefined;
  readonly writer: Writer | undefined;
  readonly follower: Follower | undefined;
}

export function statusOf(sources: StatusSources): DatabaseStatus {
  const { branch, nowMs, tree, cache, diskCache, writer, follower } = sources;
  const { log, maintenance, collector, trash } = writer ?? {};
  const lag = log?.lag();
  const space = collector?.space;
  const position = follower?.position;
  const acknowledged = position === undefined ? sources.acknowledged : position.nextSegment - 1;
  return {
    branch,
    epoch: position?.epoch ?? sources.epoch,
    manifest: writer?.publisher.current.number ?? 0,
    durability: writer?.journal === undefined ? 'store' : 'journal',
    journal: writer?.journal?.status(),
    acknowledged,
    durable: log?.durableSegment ?? acknowledged,
    lagBytes: lag?.bytes ?? 0,
    lagSeconds: lag?.sinceMs === undefined ? 0 : (nowMs - lag.sinceMs) / 1000,
    barriers: log?.counters.barriers ?? 0,
    segments: log?.counters.segments ?? 0,
    flushes: maintenance?.counters.flushes ?? 0,
    compactions: maintenance?.counters.compactions ?? 0,
    runs: tree.runs.length,
    collection: {
      storedBytes: space?.storedBytes,
      liveBytes: space?.liveBytes,
      pinnedBytes: space?.pinnedBytes,
      movedBytes: collector?.movedBytes ?? 0,
      waits: collector?.credit.waits ?? 0,
      deletedObjects: trash?.counters.deletedObjects ?? 0,
      deletedBytes: trash?.counters.deletedBytes ?? 0,
    },
    following: follower?.status(),
    cache: { memory: cache.stats(), disk: diskCache?.stats() },
  };
}

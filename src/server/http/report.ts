// What the admin socket says and is told, as schemas: the server builds these shapes, the client
// checks them. `status --json` prints StatusReport as it is; scripts rely on its names.

import { z } from 'zod';

const count = z.number().nonnegative();

const storeCounts = z.object({
  put: count,
  get: count,
  list: count,
  head: count,
  delete: count,
  bytesUp: count,
  bytesDown: count,
});

export const statusReport = z.object({
  version: z.string(),
  branch: z.string(),
  /** The snapshot that is served instead of the branch's head. */
  snapshot: z.string().optional(),
  epoch: count,
  durability: z.string(),
  /** Last commit acknowledged to a client, and last one that the store holds. */
  acknowledged: count,
  durable: count,
  lagBytes: count,
  lagSeconds: count,
  volumes: z.array(z.object({ name: z.string(), size: count, used: count })),
  /** Requests that really went out, retries included. */
  store: storeCounts.extend({ byCause: z.record(z.string(), storeCounts) }),
  barriers: count,
  /** While the store fails: for how long it has, failed attempts in a row, the last error. */
  outage: z.object({ seconds: count, failures: count, error: z.string() }).optional(),
  /** Of the journal tier: what the journal holds, and why it failed, if it did. */
  journal: z
    .object({
      id: z.string(),
      bytes: count,
      records: count,
      syncs: count,
      sequence: count,
      stored: count,
      overflows: count,
      failure: z.string().optional(),
    })
    .optional(),
  /** Sizes of the branch's objects as the last survey found them; absent before the first. */
  collection: z.object({
    storedBytes: count.optional(),
    liveBytes: count.optional(),
    /** Kept by snapshots and branches. */
    pinnedBytes: count.optional(),
    movedBytes: count,
    deletedObjects: count,
    deletedBytes: count,
    /** How often writers had to wait for the collector. */
    waits: count,
  }),
  /** Of a read-only server: how old what it serves and its lease are, and the manifest it reads. */
  following: z.object({ refreshedAgoMs: count, leaseAgoMs: count, manifest: count }).optional(),
  /** Tiers by name (memory, disk), each with its own numbers. */
  cache: z.record(z.string(), z.record(z.string(), z.number())),
  /**
   * What the NBD face has done; of now are `open` connections and `sharedBytes`, the memory that
   * clients hold past their own share. Clients were `dropped` for letting that lie.
   */
  nbd: z
    .object({
      open: count,
      connections: count,
      reads: count,
      writes: count,
      flushes: count,
      trims: count,
      zeroes: count,
      statuses: count,
      caches: count,
      errors: count,
      bytesRead: count,
      bytesWritten: count,
      sharedBytes: count,
      dropped: count,
    })
    .optional(),
  faces: z.array(z.object({ kind: z.string(), uri: z.string() })),
});

export const volumeReport = z.object({
  name: z.string(),
  sizeBytes: count,
  description: z.string(),
});

export const volumeUsageReport = volumeReport.extend({ usedBytes: count });

export const volumeList = z.object({ volumes: z.array(volumeUsageReport) });

/** Milliseconds since 1970, UTC. */
const unixMs = z.int().nonnegative();

export const snapshotReport = z.object({ name: z.string(), createdUnixMs: unixMs });

export const snapshotUsageReport = snapshotReport.extend({
  /** Stored bytes of the branch that it reaches, and those that only it keeps. */
  reachedBytes: count,
  ownBytes: count,
  /** Branches that stand on it. */
  branches: z.array(z.string()),
});

export const snapshotList = z.object({ snapshots: z.array(snapshotUsageReport) });

export const branchReport = z.object({
  name: z.string(),
  id: z.string(),
  /** By the server that was asked. */
  served: z.boolean(),
  parent: z.string().optional(),
  /** For a child of the served branch: stored bytes of the served one that only the child keeps. */
  keptBytes: count.optional(),
});

export const branchList = z.object({ branches: z.array(branchReport) });

export const collectReport = z.object({
  deletedObjects: count,
  deletedBytes: count,
  movedBytes: count,
  /** Of the branch's objects, afterwards. */
  storedBytes: count,
  liveBytes: count,
  /** Kept by snapshots and branches. */
  pinnedBytes: count,
});

export const upgradeReport = z.object({
  pid: count,
  version: z.string(),
  /** Connections that went on, and those that were closed. */
  connections: count,
  closed: count,
  /** How long clients waited. */
  waitedMs: count,
});

/** A line before the answer: how far it is. `total` is 0 while nobody knows. */
export const progressReport = z.object({
  progress: z.object({ what: z.string(), done: count, total: count }),
});

export const errorReport = z.object({
  error: z.object({ kind: z.string(), message: z.string() }),
});

export const createVolumeBody = z.strictObject({
  name: z.string().min(1),
  sizeBytes: z.int().positive(),
});

export const resizeVolumeBody = z.strictObject({
  sizeBytes: z.int().positive(),
  force: z.boolean().default(false),
});

export const createSnapshotBody = z.strictObject({ name: z.string() });

export const createBranchBody = z.strictObject({
  name: z.string(),
  /** A snapshot; without one the branch begins with the state as it is now. */
  from: z.string().optional(),
});

export type StoreCounts = z.output<typeof storeCounts>;
export type StatusReport = z.output<typeof statusReport>;
export type VolumeReport = z.output<typeof volumeReport>;
export type VolumeUsageReport = z.output<typeof volumeUsageReport>;
export type SnapshotReport = z.output<typeof snapshotReport>;
export type SnapshotUsageReport = z.output<typeof snapshotUsageReport>;
export type BranchReport = z.output<typeof branchReport>;
export type CollectReport = z.output<typeof collectReport>;
export type UpgradeReport = z.output<typeof upgradeReport>;
export type ProgressReport = z.output<typeof progressReport>;
export type OnProgress = (what: string, done: number, total: number) => void;

// Answers the admin routes out of what the daemon runs: adds up the one status report from its
// parts.

import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Semaphore } from '../../base/semaphore.ts';
import type { Meter, MeterSnapshot, RequestKind } from '../../objectstore/metered.ts';
import type {
  BranchReport,
  CollectReport,
  OnProgress,
  SnapshotReport,
  SnapshotUsageReport,
  StatusReport,
  StoreCounts,
  UpgradeReport,
  VolumeReport,
  VolumeUsageReport,
} from './report.ts';
import type { AdminService } from './routes.ts';

/** What the service needs of the engine; the database has it. */
export interface DatabaseSource {
  /** Settles when the store has everything before the call. */
  barrier(): void | Promise<void>;
  status(): Pick<
    StatusReport,
    | 'branch'
    | 'epoch'
    | 'durability'
    | 'acknowledged'
    | 'durable'
    | 'lagBytes'
    | 'lagSeconds'
    | 'barriers'
    | 'journal'
    | 'collection'
    | 'following'
    | 'cache'
  >;
  /** Throws `readOnly` when the branch is served read-only. */
  readonly roots: RootsSource;
  collect(onProgress: OnProgress): Promise<CollectReport>;
}

/** What the service needs of the engine's snapshots and branches. */
export interface RootsSource {
  createSnapshot(name: string): Promise<SnapshotReport>;
  deleteSnapshot(name: string): Promise<void>;
  listSnapshots(): Promise<readonly Readonly<SnapshotUsage>[]>;
  createBranch(name: string, from: string | undefined): Promise<BranchReport>;
  listBranches(): Promise<readonly BranchReport[]>;
  deleteBranch(name: string): Promise<void>;
}

interface SnapshotUsage extends Omit<SnapshotUsageReport, 'branches'> {
  readonly branches: readonly string[];
}

/** What the service needs of the volumes. */
export interface VolumeSource {
  list(): readonly { readonly name: string }[];
  usage(name: string): Promise<VolumeUsageReport>;
  create(name: string, sizeBytes: number): Promise<VolumeReport>;
  resize(
    name: string,
    sizeBytes: number,
    options: { readonly force: boolean },
  ): Promise<VolumeReport>;
  remove(name: string): Promise<unknown>;
  /** All become what the snapshot holds. */
  restore(snapshot: string): Promise<void>;
}

export interface ServiceParts {
  readonly version: string;
  readonly database: DatabaseSource;
  readonly volumes: VolumeSource;
  readonly meter: Meter;
  readonly log: Log;
  /** The snapshot that is served, if it is one. */
  readonly snapshot: string | undefined;
  /** Absent: this process cannot be replaced. */
  readonly upgrade?: ((onProgress: (what: string) => void) => Promise<UpgradeReport>) | undefined;
  /** Read at each call: faces are added as they begin to listen. */
  readonly faces: readonly { readonly kind: string; readonly uri: string }[];
  /** Undefined before the NBD face listens. */
  readonly nbd?: (() => StatusReport['nbd']) | undefined;
  /** Undefined while the store answers. */
  readonly outage?: (() => StatusReport['outage']) | undefined;
}

export function createAdminService(parts: ServiceParts): AdminService {
  const { database, volumes, meter, log, snapshot } = parts;
  /** One collection at a time; the next begins behind it, and sees what was deleted meanwhile. */
  const passes = new Semaphore(1);

  async function listVolumes(): Promise<readonly VolumeUsageReport[]> {
    const found = await Promise.all(volumes.list().map(({ name }) => usageIfThere(volumes, name)));
    return found.filter((one) => one !== undefined);
  }

  async function collect(onProgress: OnProgress, signal: AbortSignal): Promise<CollectReport> {
    if (passes.free === 0) onProgress('waiting for the collection under way', 0, 0);
    await passes.acquire(1, signal);
    signal.throwIfAborted();
    const pass = database.collect(onProgress).finally(() => passes.release());
    const given = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => {
      given.reject(signal.reason);
      // Nobody waits for it any more, so what becomes of it is said here.
      pass.catch((error: unknown) => {
        if (!isStorageError(error, 'aborted'))
          log.warn('collection.failed', { error: messageOf(error) });
      });
    });
    return Promise.race([pass, given.promise]);
  }

  return {
    listVolumes,
    async status() {
      const sized = await listVolumes();
      const { branch, epoch, durability, acknowledged, durable, ...rest } = database.status();
      const nbd = parts.nbd?.();
      const outage = parts.outage?.();
      return {
        version: parts.version,
        branch,
        ...(snapshot === undefined ? {} : { snapshot }),
        epoch,
        durability,
        acknowledged,
        durable,
        lagBytes: rest.lagBytes,
        lagSeconds: rest.lagSeconds,
        volumes: sized.map((one) => ({
          name: one.name,
          size: one.sizeBytes,
          used: one.usedBytes,
        })),
        store: storeReport(meter.snapshot()),
        barriers: rest.barriers,
        ...(outage === undefined ? {} : { outage }),
        ...(rest.journal === undefined ? {} : { journal: rest.journal }),
        collection: rest.collection,
        ...(rest.following === undefined ? {} : { following: rest.following }),
        cache: rest.cache,
        ...(nbd === undefined ? {} : { nbd }),
        faces: [...parts.faces],
      };
    },
    async flush() {
      await database.barrier();
    },
    createVolume: (name, sizeBytes) => volumes.create(name, sizeBytes),
    resizeVolume: (name, sizeBytes, force) => volumes.resize(name, sizeBytes, { force }),
    removeVolume: async (name) => void (await volumes.remove(name)),
    async listSnapshots() {
      const snapshots = await database.roots.listSnapshots();
      return snapshots.map((one) => ({ ...one, branches: [...one.branches] }));
    },
    async createSnapshot(wanted) {
      const { name, createdUnixMs } = await database.roots.createSnapshot(wanted);
      return { name, createdUnixMs };
    },
    deleteSnapshot: async (name) => database.roots.deleteSnapshot(name),
    restore: (name) => volumes.restore(name),
    listBranches: async () => database.roots.listBranches(),
    createBranch: async (name, from) => database.roots.createBranch(name, from),
    deleteBranch: async (name) => database.roots.deleteBranch(name),
    collect,
    async upgrade(onProgress) {
      if (parts.upgrade === undefined) {
        throw new StorageError('invalid', 'this server cannot be replaced while it runs');
      }
      return parts.upgrade((what) => onProgress(what, 0, 0));
    },
  };
}

/** Undefined for a volume that was deleted since it was listed. */
async function usageIfThere(
  volumes: VolumeSource,
  name: string,
): Promise<VolumeUsageReport | undefined> {
  try {
    return await volumes.usage(name);
  } catch (error) {
    if (isStorageError(error, 'notFound')) return undefined;
    throw error;
  }
}

function storeReport(meter: MeterSnapshot): StatusReport['store'] {
  const byCause: Record<string, StoreCounts> = {};
  for (const [cause, kinds] of Object.entries(meter.byCause)) {
    const counts = storeCounts(kinds, kinds.put.bytes, kinds.get.bytes);
    if (counts.put + counts.get + counts.list + counts.head + counts.delete > 0) {
      byCause[cause] = counts;
    }
  }
  return { ...storeCounts(meter.total, meter.bytesUp, meter.bytesDown), byCause };
}

function storeCounts(
  kinds: Readonly<Record<RequestKind, { readonly requests: number }>>,
  bytesUp: number,
  bytesDown: number,
): StoreCounts {
  return {
    put: kinds.put.requests,
    get: kinds.get.requests,
    list: kinds.list.requests,
    head: kinds.head.requests,
    delete: kinds.delete.requests,
    bytesUp,
    bytesDown,
  };
}

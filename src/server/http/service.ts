// Answers the admin routes out of what the daemon runs: adds up the one status report from its
// parts.

import { isStorageError } from '../../base/errors.ts';
import type { Meter, MeterSnapshot, RequestKind } from '../../objectstore/metered.ts';
import type { StatusReport, StoreCounts, VolumeReport, VolumeUsageReport } from './report.ts';
import type { AdminService } from './routes.ts';

/** What the service needs of the engine; the database has it. */
export interface StatusSource {
  /** Settles when everything before the call is durable. */
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
    | 'cache'
  >;
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
}

export interface ServiceParts {
  readonly version: string;
  readonly database: StatusSource;
  readonly volumes: VolumeSource;
  readonly meter: Meter;
  /** Read at each call: faces are added as they begin to listen. */
  readonly faces: readonly { readonly kind: string; readonly uri: string }[];
}

export function createAdminService(parts: ServiceParts): AdminService {
  const { database, volumes, meter } = parts;

  async function listVolumes(): Promise<readonly VolumeUsageReport[]> {
    const found = await Promise.all(volumes.list().map(({ name }) => usageIfThere(volumes, name)));
    return found.filter((one) => one !== undefined);
  }

  return {
    listVolumes,
    async status() {
      const sized = await listVolumes();
      const { branch, epoch, durability, acknowledged, durable, ...rest } = database.status();
      return {
        version: parts.version,
        branch,
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
        cache: rest.cache,
        faces: [...parts.faces],
      };
    },
    async flush() {
      await database.barrier();
    },
    createVolume: (name, sizeBytes) => volumes.create(name, sizeBytes),
    resizeVolume: (name, sizeBytes, force) => volumes.resize(name, sizeBytes, { force }),
    removeVolume: async (name) => void (await volumes.remove(name)),
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

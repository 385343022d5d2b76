// A service for tests of the admin socket: answers from memory, and does what a test tells it.

import { StorageError } from '../../base/errors.ts';
import type { CollectReport, StatusReport, UpgradeReport, VolumeUsageReport } from './report.ts';
import type { AdminService } from './routes.ts';

const COUNTS = { put: 1, get: 2, list: 3, head: 4, delete: 5, bytesUp: 6, bytesDown: 7 };
export const STATUS: StatusReport = {
  version: '1',
  branch: 'main',
  epoch: 3,
  durability: 'store',
  acknowledged: 9,
  durable: 8,
  lagBytes: 4096,
  lagSeconds: 0.5,
  volumes: [{ name: 'disk', size: 8192, used: 4096 }],
  store: { ...COUNTS, byCause: { barrier: COUNTS } },
  barriers: 2,
  collection: { movedBytes: 1, deletedObjects: 2, deletedBytes: 3, waits: 4 },
  cache: { memory: { bytes: 1 } },
  faces: [{ kind: 'nbd', uri: 'nbd://localhost' }],
};

export const COLLECTED: CollectReport = {
  deletedObjects: 1,
  deletedBytes: 2,
  movedBytes: 3,
  storedBytes: 4,
  liveBytes: 5,
  pinnedBytes: 6,
};

export const UPGRADED: UpgradeReport = {
  pid: 1,
  version: '2',
  connections: 3,
  closed: 4,
  waitedMs: 5,
};

export interface FakeService extends AdminService {
  readonly asked: string[];
  /** What `flush` throws. */
  fail: unknown;
  /** What `collect` does. */
  onCollect: AdminService['collect'];
  /** What `upgrade` does. */
  onUpgrade: AdminService['upgrade'];
}

/** Volumes in a Map; remembers what it was asked. */
export function fakeService(): FakeService {
  const volumes = new Map<string, VolumeUsageReport>();
  const asked: string[] = [];
  const service: FakeService = {
    asked,
    fail: undefined,
    onCollect: async () => COLLECTED,
    onUpgrade: async () => UPGRADED,
    status: async () => STATUS,
    async flush() {
      asked.push('flush');
      if (service.fail !== undefined) throw service.fail;
    },
    listVolumes: async () => [...volumes.values()],
    async createVolume(name: string, sizeBytes: number) {
      const made = { name, sizeBytes, usedBytes: 0, description: 'new' };
      volumes.set(name, made);
      return made;
    },
    async resizeVolume(name: string, sizeBytes: number, force: boolean) {
      asked.push(`resize ${name} ${sizeBytes} ${force}`);
      return { name, sizeBytes, usedBytes: 0, description: '' };
    },
    async removeVolume(name: string) {
      if (!volumes.delete(name)) throw new StorageError('notFound', `no volume ${name}`);
    },
    async listSnapshots() {
      return [{ name: 's', createdUnixMs: 5, reachedBytes: 2, ownBytes: 1, branches: ['b'] }];
    },
    createSnapshot: async (name) => ({ name, createdUnixMs: 5 }),
    deleteSnapshot: async (name) => void asked.push(`delete snapshot ${name}`),
    restore: async (name) => void asked.push(`restore ${name}`),
    listBranches: async () => [{ name: 'main', id: '1', served: true }],
    async createBranch(name, from) {
      asked.push(`branch ${name} from ${from}`);
      return { name, id: '2', served: false, parent: 'main', keptBytes: 0 };
    },
    deleteBranch: async (name) => void asked.push(`delete branch ${name}`),
    collect: (onProgress, signal) => service.onCollect(onProgress, signal),
    upgrade: (onProgress) => service.onUpgrade(onProgress),
  };
  return service;
}

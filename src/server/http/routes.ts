// The admin routes as a table, and the one table from error kinds to HTTP statuses. No sockets
// here.

import type { z } from 'zod';
import { StorageError, type StorageErrorKind } from '../../base/errors.ts';
import { createBranchBody, createSnapshotBody, createVolumeBody } from './report.ts';
import { resizeVolumeBody } from './report.ts';
import type {
  BranchReport,
  CollectReport,
  OnProgress,
  SnapshotReport,
  SnapshotUsageReport,
  StatusReport,
  UpgradeReport,
  VolumeReport,
  VolumeUsageReport,
} from './report.ts';

/** What the server can be asked to do; the composition root provides it. */
export interface AdminService {
  status(): Promise<StatusReport>;
  /** Resolves when everything written before the call is durable. */
  flush(): Promise<void>;
  listVolumes(): Promise<readonly VolumeUsageReport[]>;
  createVolume(name: string, sizeBytes: number): Promise<VolumeReport>;
  /** Shrinking loses data past the new end: `invalid` unless forced. */
  resizeVolume(name: string, sizeBytes: number, force: boolean): Promise<VolumeReport>;
  removeVolume(name: string): Promise<void>;
  listSnapshots(): Promise<readonly SnapshotUsageReport[]>;
  createSnapshot(name: string): Promise<SnapshotReport>;
  /** `invalid` while a branch stands on it. */
  deleteSnapshot(name: string): Promise<void>;
  /** All volumes become what the snapshot holds: `invalid` while a client has one open. */
  restore(snapshot: string): Promise<void>;
  listBranches(): Promise<readonly BranchReport[]>;
  /** From a snapshot, or from the state as it is now. */
  createBranch(name: string, from: string | undefined): Promise<BranchReport>;
  deleteBranch(name: string): Promise<void>;
  /**
   * Frees what is dead. Rejects with the signal's reason once it is aborted; the pass that was
   * begun then goes on by itself.
   */
  collect(onProgress: OnProgress, signal: AbortSignal): Promise<CollectReport>;
  /** Replaces the process that answers. */
  upgrade(onProgress: OnProgress): Promise<UpgradeReport>;
}

export const STATUS_OF_KIND: Readonly<Record<StorageErrorKind, number>> = {
  notFound: 404,
  exists: 409,
  invalid: 400,
  corrupt: 500,
  fenced: 409,
  wrongKey: 403,
  readOnly: 405,
  denied: 502,
  unavailable: 503,
  noSpace: 507,
  aborted: 503,
};

/** One request, as its handler sees it. */
export interface Call {
  /** What stands for NAME in the path; empty without one. */
  readonly name: string;
  readonly body: unknown;
  /** Tells the client how far it is. It may be gone: what it was told is then lost. */
  readonly onProgress: OnProgress;
  /** Aborted when the client is gone or the server stops. */
  readonly signal: AbortSignal;
}

type Handler = (service: AdminService, call: Call) => Promise<unknown>;

interface Route {
  readonly method: string;
  /** `NAME` stands for one segment, percent-encoded. */
  readonly path: string;
  readonly handle: Handler;
}

const ROUTES: readonly Route[] = [
  route('GET /status', (service) => service.status()),
  route('POST /flush', (service) => done(service.flush())),
  route('GET /volumes', async (service) => ({ volumes: await service.listVolumes() })),
  route('POST /volumes', (service, { body }) => {
    const { name, sizeBytes } = checked(createVolumeBody, body);
    return service.createVolume(name, sizeBytes);
  }),
  route('POST /volumes/NAME/resize', (service, { name, body }) => {
    const { sizeBytes, force } = checked(resizeVolumeBody, body);
    return service.resizeVolume(name, sizeBytes, force);
  }),
  route('DELETE /volumes/NAME', (service, { name }) => done(service.removeVolume(name))),
  route('GET /snapshots', async (service) => ({ snapshots: await service.listSnapshots() })),
  route('POST /snapshots', (service, { body }) =>
    service.createSnapshot(checked(createSnapshotBody, body).name),
  ),
  route('DELETE /snapshots/NAME', (service, { name }) => done(service.deleteSnapshot(name))),
  route('POST /snapshots/NAME/restore', (service, { name }) => done(service.restore(name))),
  route('GET /branches', async (service) => ({ branches: await service.listBranches() })),
  route('POST /branches', (service, { body }) => {
    const { name, from } = checked(createBranchBody, body);
    return service.createBranch(name, from);
  }),
  route('DELETE /branches/NAME', (service, { name }) => done(service.deleteBranch(name))),
  route('POST /upgrade', (service, { onProgress }) => service.upgrade(onProgress)),
  route('POST /collection', (service, { onProgress, signal }) =>
    service.collect(onProgress, signal),
  ),
];

function route(what: string, handle: Handler): Route {
  const [method = '', path = ''] = what.split(' ');
  return { method, path, handle };
}

/** The reply to what has nothing to say but that it is done. */
async function done(work: Promise<void>): Promise<object> {
  await work;
  return {};
}

export interface FoundRoute {
  readonly handle: Handler;
  readonly name: string;
}

/** Throws `notFound` for an unknown path or method. */
export function findRoute(method: string, url: string): FoundRoute {
  const segments = url.split('?', 1)[0]!.split('/');
  for (const { method: own, path, handle } of ROUTES) {
    const pattern = path.split('/');
    if (own !== method || pattern.length !== segments.length) continue;
    if (!pattern.every((part, i) => part === 'NAME' || part === segments[i])) continue;
    const at = pattern.indexOf('NAME');
    return { handle, name: at < 0 ? '' : decodeSegment(segments[at]!) };
  }
  throw new StorageError('notFound', `there is no ${method} ${url} on the admin socket`);
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new StorageError('invalid', `"${segment}" is not percent-encoded UTF-8`, { cause });
  }
}

function checked<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const where = issue.path.length === 0 ? 'the body' : issue.path.map(String).join('.');
  throw new StorageError('invalid', `bad request: ${where}: ${issue.message}`);
}

// The admin routes as a table, and the one table from error kinds to HTTP statuses. No sockets
// here.

import type { z } from 'zod';
import { StorageError, type StorageErrorKind } from '../../base/errors.ts';
import {
  createVolumeBody,
  resizeVolumeBody,
  type StatusReport,
  type VolumeReport,
  type VolumeUsageReport,
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

type Handler = (service: AdminService, name: string, body: unknown) => Promise<unknown>;

interface Route {
  readonly method: string;
  /** `NAME` stands for one segment, percent-encoded. */
  readonly path: string;
  readonly handle: Handler;
}

const ROUTES: readonly Route[] = [
  { method: 'GET', path: '/status', handle: (service) => service.status() },
  {
    method: 'POST',
    path: '/flush',
    handle: async (service) => {
      await service.flush();
      return {};
    },
  },
  {
    method: 'GET',
    path: '/volumes',
    handle: async (service) => ({ volumes: await service.listVolumes() }),
  },
  {
    method: 'POST',
    path: '/volumes',
    handle: (service, _name, body) => {
      const { name, sizeBytes } = checked(createVolumeBody, body);
      return service.createVolume(name, sizeBytes);
    },
  },
  {
    method: 'POST',
    path: '/volumes/NAME/resize',
    handle: (service, name, body) => {
      const { sizeBytes, force } = checked(resizeVolumeBody, body);
      return service.resizeVolume(name, sizeBytes, force);
    },
  },
  {
    method: 'DELETE',
    path: '/volumes/NAME',
    handle: async (service, name) => {
      await service.removeVolume(name);
      return {};
    },
  },
];

export interface FoundRoute {
  readonly handle: Handler;
  readonly name: string;
}

/** Throws `notFound` for an unknown path or method. */
export function findRoute(method: string, url: string): FoundRoute {
  const segments = url.split('?', 1)[0]!.split('/');
  for (const route of ROUTES) {
    const pattern = route.path.split('/');
    if (route.method !== method || pattern.length !== segments.length) continue;
    if (!pattern.every((part, i) => part === 'NAME' || part === segments[i])) continue;
    const at = pattern.indexOf('NAME');
    return { handle: route.handle, name: at < 0 ? '' : decodeSegment(segments[at]!) };
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

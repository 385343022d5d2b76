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
  /** Tiers by name (memory, disk), each with its own numbers. */
  cache: z.record(z.string(), z.record(z.string(), z.number())),
  faces: z.array(z.object({ kind: z.string(), uri: z.string() })),
});

export const volumeReport = z.object({
  name: z.string(),
  sizeBytes: count,
  description: z.string(),
});

export const volumeUsageReport = volumeReport.extend({ usedBytes: count });

export const volumeList = z.object({ volumes: z.array(volumeUsageReport) });

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

export type StoreCounts = z.output<typeof storeCounts>;
export type StatusReport = z.output<typeof statusReport>;
export type VolumeReport = z.output<typeof volumeReport>;
export type VolumeUsageReport = z.output<typeof volumeUsageReport>;

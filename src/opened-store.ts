// The part of the composition root that opens the store which the settings name: its kind by its
// URL, metered below the retries, as each attempt is a request on the bill.

import type { Clock } from './base/clock.ts';
import { StorageError } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { Rng } from './base/rng.ts';
import type { Settings } from './cli/settings.ts';
import { createDirectoryStore } from './objectstore/directory.ts';
import { createMemoryStore } from './objectstore/memory.ts';
import { type Meter, withMeter } from './objectstore/metered.ts';
import type { ObjectStore } from './objectstore/object-store.ts';
import { type RetryingStore, withRetry } from './objectstore/retry.ts';
import { parseStoreUrl, type StoreLocation } from './objectstore/url.ts';

export interface StoreComponents {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** For the AWS chain: keys, profile, region. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface OpenedStore {
  readonly store: RetryingStore;
  readonly meter: Meter;
}

/** The store that the settings name; `open` closes it. */
export async function openStore(
  settings: Settings,
  components: StoreComponents,
  open: AsyncDisposableStack,
): Promise<OpenedStore> {
  if (settings.storeUrl === undefined) {
    throw new StorageError(
      'invalid',
      'no store given: name one with --store file:DIR or --store s3://BUCKET/PREFIX',
    );
  }
  const { clock, rng, log } = components;
  const metered = withMeter(await bareStore(settings, settings.storeUrl, components));
  const store = withRetry(metered, { clock, rng, log, ...retrySettings(settings) });
  open.defer(() => store.close());
  return { store, meter: metered.meter };
}

async function bareStore(
  { s3 }: Settings,
  url: string,
  components: StoreComponents,
): Promise<ObjectStore> {
  const { clock, rng } = components;
  const location = parseStoreUrl(url);
  switch (location.kind) {
    case 'memory':
      return createMemoryStore();
    case 'file':
      return createDirectoryStore({ rng, clock, root: location.directory });
    case 's3': {
      return openS3(location, s3, components);
    }
  }
}

/** AWS wants the bucket in the host's name; other servers rarely have the DNS names for that. */
async function openS3(
  { bucket, prefix }: Extract<StoreLocation, { kind: 's3' }>,
  { endpoint, region }: Settings['s3'],
  { clock, log, env }: StoreComponents,
): Promise<ObjectStore> {
  // Loaded when it is needed: undici takes a tenth of a second and several megabytes.
  const { awsCredentials } = await import('./objectstore/s3/credentials.ts');
  const { createS3Store } = await import('./objectstore/s3/s3-store.ts');
  return createS3Store({
    bucket,
    prefix,
    ...(endpoint === undefined ? {} : { endpoint }),
    region: region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
    // A dot in a bucket's name does not match the certificate of *.s3.amazonaws.com.
    addressing: endpoint === undefined && !bucket.includes('.') ? 'virtual' : 'path',
    credentials: awsCredentials(env, { clock, log }),
    clock,
    log,
  });
}

/** A request that takes longer than an attempt is not slow but lost. */
function retrySettings({ timeout }: Settings) {
  const read = { attemptTimeoutMs: 5_000, totalDeadlineMs: timeout.readMs };
  const start = { attemptTimeoutMs: 5_000, totalDeadlineMs: 120_000 };
  const barrier = { attemptTimeoutMs: 10_000 };
  return {
    attemptTimeoutMs: 30_000,
    totalDeadlineMs: timeout.writeMs,
    baseDelayMs: 100,
    maxDelayMs: 5_000,
    byCause: { read, lookup: read, open: start, admin: start, barrier },
  };
}

/** Since when the store has failed, and with what; undefined while it answers. */
export function outageOf({ health }: RetryingStore, clock: Clock) {
  const { failing, sinceMs, consecutiveFailures, lastError } = health.status();
  if (!failing || sinceMs === undefined) return undefined;
  const seconds = (clock.monotonicMs() - sinceMs) / 1000;
  return { seconds, failures: consecutiveFailures, error: lastError?.message ?? '' };
}

// Where the demo keeps its store: a Ceph RADOS Gateway of its own, a folder, or what was named.

import { silentLog } from '../../src/base/log.ts';
import { systemClock, systemRng } from '../../src/base/system.ts';
import { createDirectoryStore } from '../../src/objectstore/directory.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { awsCredentials } from '../../src/objectstore/s3/credentials.ts';
import { createBucketIfMissing, createS3Store } from '../../src/objectstore/s3/s3-store.ts';
import { parseStoreUrl } from '../../src/objectstore/url.ts';
import { startRgw } from '../../test/support/rgw.ts';

export interface Used {
  readonly objects: number;
  readonly bytes: number;
}

export interface Bucket {
  readonly url: string;
  /** Flags of `varve init` and `varve serve` besides --store. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly description: string;
  /** Adds up the objects. */
  used(): Promise<Used>;
  /** The same for each branch, by its id: what lies under its name. */
  usedByBranch(): Promise<ReadonlyMap<string, Used>>;
  /** Stops what was started for it; leaves what was named by the caller. */
  close(): Promise<void>;
}

const NOTHING: Used = { objects: 0, bytes: 0 };

export interface BucketChoice {
  /** Undefined for a gateway of our own. */
  readonly url: string | undefined;
  readonly endpoint: string | undefined;
  /** For a `file:` that names no folder. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export async function openBucket(choice: BucketChoice): Promise<Bucket> {
  if (choice.url === undefined) return openGateway();
  const url = choice.url === 'file:' ? `file:${choice.folder}` : choice.url;
  return openNamed(url, choice);
}

async function openGateway(): Promise<Bucket> {
  const rgw = await startRgw();
  const env = {
    AWS_ACCESS_KEY_ID: rgw.accessKey,
    AWS_SECRET_ACCESS_KEY: rgw.secretKey,
    AWS_REGION: rgw.region,
  };
  try {
    const url = 's3://varve-demo/store';
    const named = await openNamed(url, { url, endpoint: rgw.endpoint, folder: '', env });
    return {
      ...named,
      description: `${url} on Ceph RGW ${rgw.endpoint}`,
      async close() {
        await named.close();
        await rgw.stop();
      },
    };
  } catch (error) {
    await rgw.stop();
    throw error;
  }
}

async function openNamed(url: string, choice: BucketChoice): Promise<Bucket> {
  const store = await openStore(url, choice);
  const { endpoint } = choice;
  return {
    url,
    flags: endpoint === undefined ? [] : ['--s3-endpoint', endpoint],
    env: Object.fromEntries(
      Object.entries(choice.env).flatMap(([name, value]) =>
        name.startsWith('AWS_') && value !== undefined ? [[name, value]] : [],
      ),
    ),
    description: endpoint === undefined ? url : `${url} at ${endpoint}`,
    async used() {
      return (await addUp(store, '', () => '')).get('') ?? NOTHING;
    },
    usedByBranch: () => addUp(store, 'branches/', (key) => key.split('/')[1]!),
    close: () => store.close(),
  };
}

/** Adds up objects by what `groupOf` makes of their keys. */
async function addUp(
  store: ObjectStore,
  prefix: string,
  groupOf: (key: string) => string,
): Promise<ReadonlyMap<string, Used>> {
  const groups = new Map<string, Used>();
  for await (const page of store.list(prefix, { cause: 'admin' })) {
    for (const { key, bytes } of page) {
      const group = groupOf(key);
      const sum = groups.get(group) ?? NOTHING;
      groups.set(group, { objects: sum.objects + 1, bytes: sum.bytes + bytes });
    }
  }
  return groups;
}

async function openStore(url: string, { endpoint, env }: BucketChoice): Promise<ObjectStore> {
  const location = parseStoreUrl(url);
  const log = silentLog;
  switch (location.kind) {
    case 'memory':
      throw new Error('a store in memory does not survive the crash that the demo is about');
    case 'file':
      return createDirectoryStore({
        rng: systemRng,
        clock: systemClock,
        root: location.directory,
      });
    case 's3': {
      const settings = {
        bucket: location.bucket,
        ...(endpoint === undefined ? {} : { endpoint }),
        region: env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
        addressing: endpoint === undefined ? 'virtual' : 'path',
        credentials: awsCredentials(env, { clock: systemClock, log }),
        clock: systemClock,
        log,
      } as const;
      await createBucketIfMissing(settings);
      return createS3Store({ ...settings, prefix: location.prefix });
    }
  }
}

// The S3 store against a real server: Ceph's RADOS Gateway, path style and virtual-host style.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { systemClock, systemRng } from '../../base/system.ts';
import { startRgw, type Rgw } from '../../../test/support/rgw.ts';
import { describeStore } from '../conformance.ts';
import { bytesOf, listAll, rejectsWith } from '../testing-store.ts';
import type { ObjectStore } from '../object-store.ts';
import { withRetry } from '../retry.ts';
import { staticCredentials } from './credentials.ts';
import { createBucketIfMissing, createS3Store, type S3StoreSettings } from './s3-store.ts';

const BUCKET = 'conformance';
const options = { cause: 'admin' } as const;

let rgw: Rgw;
let stores = 0;

function settings(overrides: Partial<S3StoreSettings> = {}): S3StoreSettings {
  return {
    bucket: BUCKET,
    endpoint: rgw.endpoint,
    region: rgw.region,
    addressing: 'path',
    credentials: staticCredentials({
      accessKeyId: rgw.accessKey,
      secretAccessKey: rgw.secretKey,
    }),
    clock: systemClock,
    log: silentLog,
    ...overrides,
  };
}

/** A prefix that no other test uses. */
function freshPrefix(): string {
  stores += 1;
  return `store ${stores}+`;
}

async function use(
  overrides: Partial<S3StoreSettings>,
  body: (store: ObjectStore) => Promise<void>,
): Promise<void> {
  const store = createS3Store(settings({ prefix: freshPrefix(), ...overrides }));
  try {
    await body(store);
  } finally {
    await store.close();
  }
}

before(async () => {
  rgw = await startRgw();
  await createBucketIfMissing(settings());
  await createBucketIfMissing(settings());
});

after(async () => {
  await rgw?.stop();
});

describeStore('the S3 store, path style', async ({ pageKeys }) => ({
  store: createS3Store(settings({ prefix: freshPrefix(), pageKeys })),
}));

describeStore('the S3 store, virtual-host style', async ({ pageKeys }) => ({
  store: createS3Store(
    settings({
      endpoint: `http://localhost:${rgw.port}`,
      addressing: 'virtual',
      prefix: freshPrefix(),
      pageKeys,
    }),
  ),
}));

describeStore('the S3 store without checksums, at the root of its bucket', async ({ pageKeys }) => {
  stores += 1;
  const bucket = `bucket-${stores}`;
  await createBucketIfMissing(settings({ bucket }));
  return { store: createS3Store(settings({ bucket, pageKeys, checksum: 'none' })) };
});

describe('the S3 store on a real server', () => {
  it('is denied with a wrong key, in so many words', async () => {
    const credentials = staticCredentials({ accessKeyId: 'AK', secretAccessKey: 'wrong' });
    await use({ credentials }, async (store) => {
      await rejectsWith(store.putIfAbsent('k', [bytesOf('x')], options), 'denied');
      await rejectsWith(store.get('k', undefined, options), 'denied');
      await rejectsWith(store.head('k', options), 'denied');
      await rejectsWith(listAll(store, ''), 'denied');
    });
  });

  it('is denied when the clock is wrong, and says so', async () => {
    const clock = { ...systemClock, unixMs: () => systemClock.unixMs() - 3600_000 };
    await use({ clock }, async (store) => {
      await assert.rejects(store.get('k', undefined, options), /clock/);
    });
  });

  it('says which bucket is missing', async () => {
    await use({ bucket: 'no-such-bucket' }, async (store) => {
      const put = store.putIfAbsent('k', [bytesOf('x')], options);
      await assert.rejects(put, /bucket no-such-bucket does not exist/);
      await rejectsWith(store.get('k', undefined, options), 'invalid');
      await rejectsWith(listAll(store, ''), 'invalid');
    });
  });

  it('recognises its own object after a put in doubt', async () => {
    await use({}, async (store) => {
      const retrying = withRetry(store, {
        clock: systemClock,
        rng: systemRng,
        log: silentLog,
        attemptTimeoutMs: 10_000,
        totalDeadlineMs: 30_000,
        baseDelayMs: 10,
        maxDelayMs: 100,
      });
      const body = [createSeededRng(1).bytes(10_000), createSeededRng(2).bytes(10_000)];
      await store.putIfAbsent('k', body, options);
      await retrying.putIfAbsent('k', body, options);
      await rejectsWith(retrying.putIfAbsent('k', body.slice(1), options), 'exists');
    });
  });

  it('stops a put under way when the caller gives up, and can be used on', async () => {
    await use({ connectionsMax: 1 }, async (store) => {
      const controller = new AbortController();
      const body = [new Uint8Array(32 * 1024 * 1024)];
      const put = store.putIfAbsent('big', body, { ...options, signal: controller.signal });
      setImmediate(() => controller.abort());
      await rejectsWith(put, 'aborted');
      await store.putIfAbsent('small', [bytesOf('x')], options);
      assert.deepEqual((await store.get('small', undefined, options)).bytes.length, 1);
    });
  });
});

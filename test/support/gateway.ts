// A real S3 server with a bucket, and how a varve is told to use it.

import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { staticCredentials } from '../../src/objectstore/s3/credentials.ts';
import { createBucketIfMissing } from '../../src/objectstore/s3/s3-store.ts';
import { startRgw } from './rgw.ts';
import type { ServerOptions } from './server.ts';

const BUCKET = 'varve-test';

export interface Gateway {
  /** A store under this prefix of the bucket. */
  serverOptions(prefix: string): Pick<ServerOptions, 'store' | 'storeFlags' | 'env'>;
  stop(): Promise<void>;
}

export async function openGateway(): Promise<Gateway> {
  const rgw = await startRgw();
  try {
    await createBucketIfMissing({
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
    });
  } catch (error) {
    await rgw.stop();
    throw error;
  }
  return {
    serverOptions: (prefix) => ({
      store: `s3://${BUCKET}/${prefix}`,
      storeFlags: ['--s3-endpoint', rgw.endpoint],
      env: {
        AWS_ACCESS_KEY_ID: rgw.accessKey,
        AWS_SECRET_ACCESS_KEY: rgw.secretKey,
        AWS_REGION: rgw.region,
      },
    }),
    stop: () => rgw.stop(),
  };
}

// A real S3 server with a bucket, and how a varve is told to use it.

import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { staticCredentials } from '../../src/objectstore/s3/credentials.ts';
import { createBucketIfMissing } from '../../src/objectstore/s3/s3-store.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { startRgw } from './rgw.ts';
import type { ServerOptions } from './server.ts';

const BUCKET = 'varve-test';

export interface Gateway {
  readonly endpoint: string;
  /** A store under this prefix of the bucket. */
  serverOptions(prefix: string): Pick<ServerOptions, 'store' | 'storeFlags' | 'env'>;
  stop(): Promise<void>;
}

/** A gateway whose network can be made to fail. */
export interface ProxiedGateway extends Gateway {
  /** What `serverOptions` lead to. */
  readonly proxy: FaultProxy;
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
    endpoint: rgw.endpoint,
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

export async function openProxiedGateway(): Promise<ProxiedGateway> {
  const gateway = await openGateway();
  try {
    const { hostname, port } = new URL(gateway.endpoint);
    const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
    return {
      endpoint: proxy.endpoint,
      proxy,
      serverOptions: (prefix) => ({
        ...gateway.serverOptions(prefix),
        storeFlags: ['--s3-endpoint', proxy.endpoint],
      }),
      async stop() {
        try {
          await proxy.close();
        } finally {
          await gateway.stop();
        }
      },
    };
  } catch (error) {
    await gateway.stop();
    throw error;
  }
}

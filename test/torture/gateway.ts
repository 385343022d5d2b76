// Ceph's S3 gateway, whose front end can be killed and started again: the objects lie in another
// process (the OSD, in memory), so what it acknowledged outlives it, and what it had half done is
// half done.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { silentLog } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/system.ts';
import { staticCredentials } from '../../src/objectstore/s3/credentials.ts';
import { createBucketIfMissing } from '../../src/objectstore/s3/s3-store.ts';
import { until } from '../support/command.ts';
import { RGW_SCRIPT, startRgwIn } from '../support/start-rgw.ts';

const run = promisify(execFile);

/** What scripts/rgw.sh says. */
const ACCESS_KEY = 'AK';
const SECRET_KEY = 'SK';
const REGION = 'us-east-1';

export interface Gateway {
  readonly port: number;
  /** SIGKILL; resolves when nothing listens any more. */
  kill(): Promise<void>;
  /** After `kill`; resolves when it answers. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** For the clients of the gateway. */
export const GATEWAY_ENV = {
  AWS_ACCESS_KEY_ID: ACCESS_KEY,
  AWS_SECRET_ACCESS_KEY: SECRET_KEY,
  AWS_REGION: REGION,
};

/** Settings of an S3 client of `bucket` on the gateway, past any proxy. */
export function gatewayClient(port: number, bucket: string) {
  return {
    bucket,
    endpoint: `http://127.0.0.1:${port}`,
    region: REGION,
    addressing: 'path',
    credentials: staticCredentials({ accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY }),
    clock: systemClock,
    log: silentLog,
  } as const;
}

/** Its data and logs are below `dir`, which is made. Creates the bucket. */
export async function startGateway(dir: string, bucket: string): Promise<Gateway> {
  const port = await startRgwIn(dir);
  const stop = async (): Promise<void> => void (await run(RGW_SCRIPT, ['stop', dir]));
  try {
    await createBucketIfMissing(gatewayClient(port, bucket));
  } catch (error) {
    await stop();
    throw error;
  }
  const answers = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
  return {
    port,
    stop,
    async kill() {
      const pid = Number(await readFile(join(dir, 'run/client.rgw.pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
      await until('the gateway is gone', async () => !(await answers()));
    },
    async start() {
      await run('radosgw', ['-c', join(dir, 'ceph.conf'), '-n', 'client.rgw']);
      await until('the gateway answers', answers);
    },
  };
}

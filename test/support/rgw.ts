// Starts a real S3 server (Ceph RGW, see scripts/rgw.sh) for a test, and ends it by the ids of its
// processes.

import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RGW_SCRIPT, startRgwIn } from './start-rgw.ts';

const run = promisify(execFile);

export interface Rgw {
  /** `http://127.0.0.1:PORT`; with virtual-host style, `http://BUCKET.localhost:PORT`. */
  readonly endpoint: string;
  readonly port: number;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
  stop(): Promise<void>;
}

/**
 * Resolves when the server answers, after some 15 s. Fails loudly when its packages are not
 * installed.
 */
export async function startRgw(): Promise<Rgw> {
  const directory = await mkdtemp(join(tmpdir(), 'varve-rgw-'));
  // When the test process ends without `stop`, the daemons must not outlive it.
  const onExit = (): void => {
    execFileSync(RGW_SCRIPT, ['stop', directory]);
  };
  process.once('exit', onExit);
  const stop = async (): Promise<void> => {
    await run(RGW_SCRIPT, ['stop', directory]);
    process.removeListener('exit', onExit);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const port = await startRgwIn(directory);
    return {
      endpoint: `http://127.0.0.1:${port}`,
      port,
      accessKey: 'AK',
      secretKey: 'SK',
      region: 'us-east-1',
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

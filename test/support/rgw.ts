// Starts a real S3 server (Ceph RGW, see scripts/rgw.sh) for a test, and ends it by the ids of its
// processes.

import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePorts } from './free-ports.ts';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../scripts/rgw.sh', import.meta.url));

/** Three daemons one after another on a busy machine. */
const START_TIMEOUT_MS = 120_000;

/** A port may be taken between our look and the daemon's. */
const START_ATTEMPTS = 3;

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
    execFileSync(SCRIPT, ['stop', directory]);
  };
  process.once('exit', onExit);
  const stop = async (): Promise<void> => {
    await run(SCRIPT, ['stop', directory]);
    process.removeListener('exit', onExit);
    await rm(directory, { recursive: true, force: true });
  };
  for (let attempt = 1; ; attempt++) {
    const [port, monitorPort] = await freePorts();
    try {
      await run(SCRIPT, ['start', directory, String(port)], {
        env: { ...process.env, RGW_MON_PORT: String(monitorPort) },
        timeout: START_TIMEOUT_MS,
      });
      return {
        endpoint: `http://127.0.0.1:${port}`,
        port,
        accessKey: 'AK',
        secretKey: 'SK',
        region: 'us-east-1',
        stop,
      };
    } catch (error) {
      const missing = error instanceof Error && error.message.includes('is missing');
      if (missing || attempt === START_ATTEMPTS) {
        await stop();
        throw new Error('Ceph RGW does not start', { cause: error });
      }
    }
  }
}

// scripts/rgw.sh start, as often as it takes: a port may be taken between our look and theirs, and
// a daemon may give up on a busy machine.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePorts } from './free-ports.ts';

const run = promisify(execFile);
export const RGW_SCRIPT = fileURLToPath(new URL('../../scripts/rgw.sh', import.meta.url));

/** Three daemons one after another on a busy machine. */
const START_TIMEOUT_MS = 120_000;
const START_ATTEMPTS = 3;

/**
 * Starts Ceph's gateway with its files below `directory`, which is made anew. Resolves with its
 * port when it answers; rejects with what the script said last.
 */
export async function startRgwIn(directory: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const [port, monitorPort] = await freePorts();
    try {
      await run(RGW_SCRIPT, ['start', directory, String(port)], {
        env: { ...process.env, RGW_MON_PORT: String(monitorPort) },
        timeout: START_TIMEOUT_MS,
      });
      return port;
    } catch (error) {
      // What a timeout ended has not stopped its daemons.
      await run(RGW_SCRIPT, ['stop', directory]);
      const missing = error instanceof Error && error.message.includes('is missing');
      if (missing || attempt === START_ATTEMPTS) {
        throw new Error('Ceph RGW does not start', { cause: error });
      }
    }
  }
}

// A volume as a block device of this machine, for file systems, by what `varve attach` does, and
// without its server's admin socket: the server may be any, and may be dead.

import { join } from 'node:path';
import { createAttachments } from '../../src/attach/attachments.ts';
import { systemHost } from '../../src/attach/system-host.ts';
import { parseUpstream } from '../../src/attach/upstream.ts';
import { isStorageError } from '../../src/base/errors.ts';
import { systemClock } from '../../src/base/system.ts';
import { until } from './command.ts';

export interface AttachOptions {
  readonly uri: string;
  /** A folder for what is attached; it exists. */
  readonly dir: string;
}

export interface TestDevice {
  /** `/dev/nbd0`, `/dev/loop3`. */
  readonly path: string;
  /** For people. */
  readonly how: string;
  /** Waits while somebody uses it. Also works when the server is gone. Idempotent. */
  detach(): Promise<void>;
}

export async function attachVolume({ uri, dir }: AttachOptions): Promise<TestDevice> {
  const attachments = createAttachments({
    host: systemHost,
    clock: systemClock,
    dir: join(dir, 'attach'),
  });
  const volume = decodeURIComponent(new URL(uri).pathname.replace(/^\/+/, ''));
  const upstream = parseUpstream(uri);
  // A server that is killed must be noticed at once.
  const mode = { reconnect: 'never', patienceSeconds: 1 } as const;
  const request = { volume, upstream, readOnly: false, ...mode };
  const { device, how } = await attachments.attach(request, 'auto');
  return {
    path: device,
    how: `${device} by ${how}`,
    // A file system that was taken down lazily holds its device for a while.
    detach: () =>
      until(`${device} is free`, async () => {
        try {
          await attachments.detach(volume);
          return true;
        } catch (error) {
          if (!isStorageError(error, 'unavailable') || !error.retryable) throw error;
          return false;
        }
      }),
  };
}

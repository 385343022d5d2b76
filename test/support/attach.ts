// A volume as a block device of this machine, for file systems, by what `varve attach` does, and
// without its server's admin socket: the server may be any, and may be dead.

import { join } from 'node:path';
import type { Reconnect } from '../../src/attach/attacher.ts';
import { createAttachments } from '../../src/attach/attachments.ts';
import { systemHost } from '../../src/attach/system-host.ts';
import { parseUpstream } from '../../src/attach/upstream.ts';
import { isStorageError } from '../../src/base/errors.ts';
import { systemClock } from '../../src/base/system.ts';
import { until } from './command.ts';

export interface AttachOptions {
  readonly uri: string;
  /** Default: `never`, for a server that is killed must be noticed at once. */
  readonly reconnect?: Reconnect;
  readonly patienceSeconds?: number;
  /** A folder for what is attached; it exists. */
  readonly dir: string;
}

export interface TestDevice {
  /** `/dev/nbd0`, `/dev/loop3`. */
  readonly path: string;
  /** For people. */
  readonly how: string;
  /**
   * Waits while somebody uses it. Also works when the server is gone; with `force` when that is
   * waited for. Idempotent.
   */
  detach(force?: boolean): Promise<void>;
}

export async function attachVolume({
  uri,
  dir,
  reconnect = 'never',
  patienceSeconds = 1,
}: AttachOptions): Promise<TestDevice> {
  const attachments = createAttachments({
    host: systemHost,
    clock: systemClock,
    dir: join(dir, 'attach'),
  });
  const volume = decodeURIComponent(new URL(uri).pathname.replace(/^\/+/, ''));
  const upstream = parseUpstream(uri);
  const request = { volume, upstream, readOnly: false, reconnect, patienceSeconds };
  const { device, how } = await attachments.attach(request, 'auto');
  return {
    path: device,
    how: `${device} by ${how}`,
    // A file system that was taken down lazily holds its device for a while.
    detach: (force = false) =>
      until(`${device} is free`, async () => {
        try {
          await attachments.detach(volume, force);
          return true;
        } catch (error) {
          if (!isStorageError(error, 'unavailable') || !error.retryable) throw error;
          return false;
        }
      }),
  };
}

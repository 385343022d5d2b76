// Tells systemd which process serves (sd_notify(3)): READY=1 and MAINPID=. Node has no Unix
// datagram sockets, so systemd's own tool sends it; the unit needs NotifyAccess=all.

import { execFile } from 'node:child_process';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';

const TIMEOUT_MS = 5000;

/** Does nothing where no service manager asks for it. Never rejects: it is only news. */
export function notifyReady(
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
): Promise<void> {
  if (env['NOTIFY_SOCKET'] === undefined) return Promise.resolve();
  const args = ['--ready', `--pid=${process.pid}`];
  return new Promise((resolve) => {
    execFile('systemd-notify', args, { timeout: TIMEOUT_MS }, (error) => {
      if (error !== null) log.warn('systemd.notify.failed', { message: messageOf(error) });
      resolve();
    });
  });
}

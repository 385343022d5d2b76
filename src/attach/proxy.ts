// The nbdkit between a device and its server, for a device that outlives the server. It holds what
// was not answered while it connects again.
//
//   clean:  by an export name with the server's write verifier, which a server that may have lost
//           answered writes refuses (RFC 0005)
//   always: by the volume's name, with every write a FUA write, so that nothing answered is lost

import { exportUri } from './upstream.ts';
import type { AttachTask } from './attacher.ts';

/** What follows nbdkit's own options. */
export function proxyArgs(task: AttachTask): readonly string[] {
  const { upstream, exportName, readOnly, reconnect, patienceSeconds } = task;
  const always = reconnect === 'always';
  return [
    ...(readOnly ? ['--readonly'] : []),
    // The outer filter first: what retry sends once more carries FUA, too.
    ...(always ? ['--filter=fua'] : []),
    '--filter=retry',
    'nbd',
    `uri=${exportUri(upstream, exportName)}`,
    ...(always ? ['fuamode=force'] : []),
    `retries=${patienceSeconds}`,
    'retry-delay=1',
    'retry-exponential=no',
  ];
}

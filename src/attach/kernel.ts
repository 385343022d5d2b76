// A device of the kernel's own NBD client, which nbd-client sets up by netlink: once it has handed
// the sockets over, no process is left.
//
// Without -persist: a client that connects again after its server was killed goes on as if nothing
// had been, though writes that it was told are done, and no flush covered, are gone with that
// server; the next flush would then be a lie. A graceful upgrade hands the sockets over, and needs
// no new connection.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { AttachedDevice, Attacher, AttachRequest } from './attacher.ts';
import { type Host, missingPrograms } from './host.ts';
import type { NbdUpstream } from './upstream.ts';
import { waitFor } from './wait-for.ts';

/** As many as libnbd's programs open: one socket's lock does not hold all processors up. */
const CONNECTIONS = 4;
/** Of one request; 0 is for ever: a server whose store is away answers late. */
const REQUEST_SECONDS_MAX = 0;
const SETTLE_MS_MAX = 30_000;

export function createKernelAttacher(host: Host, clock: Clock): Attacher {
  const about = (name: string, what: string): string =>
    host.read(`/sys/block/${name}/${what}`)?.trim() ?? '';
  const isEmpty = (name: string): boolean =>
    about(name, 'pid') === '' && ['', '0'].includes(about(name, 'size'));

  function freeDevice(): string | undefined {
    const names = host.list('/sys/block').filter((name) => /^nbd\d+$/.test(name));
    return names.find((name) => isEmpty(name) && host.exists(`/dev/${name}`));
  }

  /** /sys/block/nbdN/pid is there while it is connected. */
  function isThere({ device, session }: AttachedDevice): boolean {
    const name = nameOf(device);
    return !isEmpty(name) && about(name, 'pid') === session;
  }

  return {
    way: 'kernel',
    async probe({ reconnect }) {
      if (reconnect) return 'the kernel’s NBD cannot connect again without losing writes';
      const missing = missingPrograms(host, ['nbd-client']);
      if (missing !== undefined) return missing;
      if (freeDevice() !== undefined) return undefined;
      // Where there is no such module, the list of devices says so below.
      if (host.has('modprobe')) await host.run('modprobe', ['nbd']).catch(() => {});
      if (freeDevice() !== undefined) return undefined;
      return 'no free /dev/nbdN: the kernel has no module nbd, or all of its devices are taken';
    },
    async attach(request) {
      const name = freeDevice();
      if (name === undefined)
        throw new StorageError('unavailable', 'no /dev/nbdN is free any more');
      const device = `/dev/${name}`;
      await host.run('nbd-client', nbdClientArgs(request, device));
      await waitFor(clock, `${device} to be connected`, SETTLE_MS_MAX, () => !isEmpty(name));
      return { device, session: about(name, 'pid') };
    },
    serves: async (attached) => isThere(attached) && (await host.answers(attached.device)),
    survivors: ({ attached }) =>
      attached !== undefined && isThere(attached) ? [attached.device] : [],
    async detach({ attached }) {
      if (attached === undefined || !isThere(attached)) return;
      const { device } = attached;
      await host.run('nbd-client', ['-d', device]);
      await waitFor(clock, `${device} to go`, SETTLE_MS_MAX, () => isEmpty(nameOf(device)));
    },
  };
}

function nameOf(device: string): string {
  return device.replace(/^\/dev\//, '');
}

function nbdClientArgs(
  { upstream, volume, readOnly }: AttachRequest,
  device: string,
): readonly string[] {
  const options = [
    '-b',
    '4096',
    '-C',
    String(CONNECTIONS),
    '-timeout',
    String(REQUEST_SECONDS_MAX),
  ];
  return [...placeArgs(upstream), device, '-N', volume, ...options, ...(readOnly ? ['-R'] : [])];
}

function placeArgs(upstream: NbdUpstream): readonly string[] {
  if ('socket' in upstream) return ['-unix', upstream.socket];
  return [upstream.host, String(upstream.port)];
}

// A device of the kernel's own NBD client, which nbd-client sets up by netlink: once it has handed
// the sockets over, no process is left.
//
// With -persist a process stays behind, which connects again when the server has ended. The name of
// the export then carries the server's write verifier (RFC 0005): behind a crash it is refused, and
// the device fails. By the volume's name alone it would go on as if nothing had been, though writes
// that no flush covered are gone, and the next flush would be a lie.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { AttachedDevice, Attacher, AttachTask } from './attacher.ts';
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
      if (reconnect === 'always') return 'the kernel’s NBD cannot make every write durable';
      const missing = missingPrograms(host, ['nbd-client']);
      if (missing !== undefined) return missing;
      if (freeDevice() !== undefined) return undefined;
      // Where there is no such module, the list of devices says so below.
      if (host.has('modprobe')) await host.run('modprobe', ['nbd']).catch(() => {});
      if (freeDevice() !== undefined) return undefined;
      return 'no free /dev/nbdN: the kernel has no module nbd, or all of its devices are taken';
    },
    async attach(task) {
      const name = freeDevice();
      if (name === undefined)
        throw new StorageError('unavailable', 'no /dev/nbdN is free any more');
      const device = `/dev/${name}`;
      await host.run('nbd-client', nbdClientArgs(task, device));
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
  { upstream, exportName, readOnly, reconnect }: AttachTask,
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
  const modes = [...(reconnect === 'clean' ? ['-persist'] : []), ...(readOnly ? ['-R'] : [])];
  return [...placeArgs(upstream), device, '-N', exportName, ...options, ...modes];
}

function placeArgs(upstream: NbdUpstream): readonly string[] {
  if ('socket' in upstream) return ['-unix', upstream.socket];
  return [upstream.host, String(upstream.port)];
}

// A device of the kernel's own NBD client, which nbd-client sets up by netlink: once it has handed
// the sockets over, it ends.
//
//   server ─ NBD ─ /dev/nbdN                              reconnect never
//   server ─ NBD ─ nbdkit (retry) ─ /dev/nbdN             reconnect clean
//   server ─ NBD ─ nbdkit (fua, retry) ─ /dev/nbdN        reconnect always
//
// nbd-client's own -persist is no way to outlive a server. Seen with nbd-client 3.24 and Linux 6.1:
// by netlink it is ignored, and the device fails at the first request behind the server's end; with
// -nonetlink its process ends with the connection, and the device has no bytes any more. So what
// connects again is an nbdkit, and the kernel's connection, to its Unix socket, stays.
//
// Requests have no limit of time. The kernel's own is 30 s, behind which it takes one of several
// connections for dead, whatever `-timeout 0` says: with a store that is away all would go, one
// after the other.

import { rm } from 'node:fs/promises';
import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { AttachedDevice, Attacher, AttachPlace, AttachTask, Trace } from './attacher.ts';
import { type Host, missingPrograms } from './host.ts';
import { proxyArgs } from './proxy.ts';
import type { NbdUpstream } from './upstream.ts';
import { waitFor } from './wait-for.ts';

/** As many as libnbd's programs open: one socket's lock does not hold all processors up. */
const CONNECTIONS = 4;
/** Each connection of nbdkit's retry filter has one request under way. */
const PROXY_CONNECTIONS = 8;
/**
 * Of a request. Without a proxy it is also how long what was under way waits when the server dies:
 * a little longer than a flush waits for its store. With one it is a week.
 */
const REQUEST_SECONDS_MAX = { never: 330, proxied: 604_800 } as const;
const SETTLE_MS_MAX = 30_000;
/** Of a Unix socket's path: sun_path of unix(7), without its last byte. */
const SOCKET_PATH_BYTES_MAX = 107;

export function createKernelAttacher(host: Host, clock: Clock): Attacher {
  const about = (name: string, what: string): string =>
    host.read(`/sys/block/${name}/${what}`)?.trim() ?? '';
  const isEmpty = (name: string): boolean =>
    about(name, 'pid') === '' && ['', '0'].includes(about(name, 'size'));

  function freeDevice(): string | undefined {
    const names = host.list('/sys/block').filter((name) => /^nbd\d+$/.test(name));
    return names.find((name) => isEmpty(name) && host.exists(`/dev/${name}`));
  }

  /** /sys/block/nbdN/pid, of the nbd-client that set it up, is there while it is connected. */
  function isThere({ device, session }: AttachedDevice): boolean {
    const name = nameOf(device);
    return !isEmpty(name) && about(name, 'pid') === session;
  }

  /** Undefined when it has ended. A pid may be another's by now: only ours names our socket. */
  function proxyPid(place: AttachPlace): number | undefined {
    const pid = Number(host.read(place.pidFile)?.trim());
    const words = host.read(`/proc/${pid}/cmdline`)?.split('\0') ?? [];
    return words.includes(place.socket) ? pid : undefined;
  }

  async function startProxy(task: AttachTask, place: AttachPlace): Promise<number> {
    const { socket, pidFile } = place;
    if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
      const what = `${socket} is too long a path for a socket: give --state a shorter folder`;
      throw new StorageError('invalid', what);
    }
    // Not --foreground: nbdkit would end with the process that has started it. That returns when it
    // listens, and its pid is written a little later. What it says goes to the system's log.
    const own = ['--log=syslog', '--unix', socket, '--pidfile', pidFile];
    await host.run('nbdkit', [...own, ...proxyArgs(task)]);
    let pid: number | undefined;
    await waitFor(clock, 'nbdkit to write its pid', SETTLE_MS_MAX, () => {
      pid = proxyPid(place);
      return pid !== undefined;
    });
    assert(pid !== undefined, 'waited for');
    return pid;
  }

  async function endProxy(place: AttachPlace, how?: 'kill'): Promise<void> {
    let told: number | undefined;
    await waitFor(clock, 'nbdkit to end', SETTLE_MS_MAX, () => {
      const pid = proxyPid(place);
      if (pid !== undefined && pid !== told) host.end(pid, how);
      told = pid;
      return pid === undefined;
    });
  }

  async function attach(task: AttachTask, place: AttachPlace): Promise<AttachedDevice> {
    const name = freeDevice();
    if (name === undefined) throw new StorageError('unavailable', 'no /dev/nbdN is free any more');
    const device = `/dev/${name}`;
    const proxied = task.reconnect !== 'never';
    try {
      const pid = proxied ? await startProxy(task, place) : undefined;
      const upstream = proxied ? { socket: place.socket } : task.upstream;
      await host.run('nbd-client', nbdClientArgs({ ...task, upstream }, device));
      await waitFor(clock, `${device} to be connected`, SETTLE_MS_MAX, () => !isEmpty(name));
      return { device, session: about(name, 'pid'), pid };
    } catch (error) {
      await endProxy(place, 'kill');
      await detach({ place });
      throw error;
    }
  }

  async function detach({ place, attached }: Trace): Promise<void> {
    if (attached !== undefined && isThere(attached)) {
      const { device } = attached;
      await host.run('nbd-client', ['-d', device]);
      await waitFor(clock, `${device} to go`, SETTLE_MS_MAX, () => isEmpty(nameOf(device)));
    }
    await endProxy(place);
    for (const file of [place.socket, place.pidFile]) await rm(file, { force: true });
  }

  async function fail({ place, attached }: Trace): Promise<void> {
    // Asked to end, nbdkit would wait for the requests that wait for a server.
    await endProxy(place, 'kill');
    // What was under way on a connection that ends waits for its limit of time. This ends it; the
    // device is there as long as somebody has it open.
    if (attached !== undefined && isThere(attached))
      await host.run('nbd-client', ['-d', attached.device]);
  }

  return {
    way: 'kernel',
    async probe({ reconnect }) {
      const programs = reconnect === 'never' ? ['nbd-client'] : ['nbd-client', 'nbdkit'];
      const missing = missingPrograms(host, programs);
      if (missing !== undefined) return missing;
      if (freeDevice() !== undefined) return undefined;
      // Where there is no such module, the list of devices says so below.
      if (host.has('modprobe')) await host.run('modprobe', ['nbd']).catch(() => {});
      if (freeDevice() !== undefined) return undefined;
      return 'no free /dev/nbdN: the kernel has no module nbd, or all of its devices are taken';
    },
    attach,
    async serves(attached, place, reconnect) {
      if (!isThere(attached)) return false;
      // Behind a proxy a read would wait for the server.
      if (reconnect !== 'never') return proxyPid(place) === attached.pid;
      return await host.answers(attached.device);
    },
    survivors: ({ attached }) =>
      attached !== undefined && isThere(attached) ? [attached.device] : [],
    fail,
    detach,
  };
}

function nameOf(device: string): string {
  return device.replace(/^\/dev\//, '');
}

function nbdClientArgs(
  { upstream, exportName, readOnly, reconnect }: AttachTask,
  device: string,
): readonly string[] {
  const connections = reconnect === 'never' ? CONNECTIONS : PROXY_CONNECTIONS;
  const seconds = REQUEST_SECONDS_MAX[reconnect === 'never' ? 'never' : 'proxied'];
  const options = ['-b', '4096', '-C', `${connections}`, '-timeout', `${seconds}`];
  const mode = readOnly ? ['-R'] : [];
  return [...placeArgs(upstream), device, '-N', exportName, ...options, ...mode];
}

function placeArgs(upstream: NbdUpstream): readonly string[] {
  if ('socket' in upstream) return ['-unix', upstream.socket];
  return [upstream.host, String(upstream.port)];
}

// Who uses a block device: whoever does would lose it without warning, so it stays.

import { StorageError } from '../base/errors.ts';
import type { Host } from './host.ts';

/** Undefined when nobody does; else what, for an error: `mounted at /srv/pg`. */
export function useOf(host: Host, device: string): string | undefined {
  const name = device.replace(/^\/dev\//, '');
  const numbers = blockNumbers(host, name);
  const mounts = mountPoints(host.read('/proc/self/mountinfo') ?? '', numbers);
  if (mounts.length > 0) return `mounted at ${mounts.join(' and ')}: umount it first`;
  if (isSwap(host.read('/proc/swaps') ?? '', device))
    return `used as swap: swapoff ${device} first`;
  const holders = host.list(`/sys/block/${name}/holders`);
  if (holders.length > 0) return `part of ${holders.join(' and ')}: take that down first`;
  const openers = host.openers(device).map((one) => `${one.name} (pid ${one.pid})`);
  if (openers.length > 0) return `open in ${openers.join(', ')}`;
  // A pool of ZFS has no process and no holder; a mount may be in another namespace.
  if (host.isUnclaimed(device)) return undefined;
  return 'claimed by the kernel: a zpool (export it first), or a mount in another namespace';
}

/** Throws `unavailable`, which may pass. */
export function refuseInUse(host: Host, device: string, volume: string): void {
  const use = useOf(host, device);
  if (use === undefined) return;
  throw new StorageError('unavailable', `${device}, the volume ${volume}, is ${use}`);
}

/** `major:minor` of a disk and of its partitions. */
function blockNumbers(host: Host, name: string): ReadonlySet<string> {
  const parts = host.list(`/sys/block/${name}`).filter((one) => one.startsWith(`${name}p`));
  const paths = ['dev', ...parts.map((part) => `${part}/dev`)];
  const numbers = paths.map((path) => host.read(`/sys/block/${name}/${path}`)?.trim() ?? '');
  return new Set(numbers.filter((one) => one !== ''));
}

/** Of proc_pid_mountinfo(5): field 3 is the device, field 5 the mount point, with octal escapes. */
function mountPoints(mountinfo: string, numbers: ReadonlySet<string>): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => numbers.has(fields[2] ?? ''))
    .map((fields) => unescapeOctal(fields[4] ?? ''));
}

export function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 8)),
  );
}

function isSwap(swaps: string, device: string): boolean {
  return swaps.split('\n').some((line) => line.split(/\s/)[0] === device);
}

// For tests that drive programs of Debian packages: a missing one is a failure that names its
// package, never a test that is silently skipped.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The package of each program that tests start. scripts/debian-packages.ts says why it is needed.
 */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbdfuse: 'libnbd-bin',
  nbdsh: 'python3-libnbd',
  nbdkit: 'nbdkit',
  'nbd-client': 'nbd-client',
  'qemu-io': 'qemu-utils',
  'qemu-img': 'qemu-utils',
  fio: 'fio',
  'mkfs.ext4': 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  fusermount3: 'fuse3',
  losetup: 'util-linux',
  mount: 'util-linux',
  strace: 'strace',
  'systemd-analyze': 'systemd',
};

/** Administrators' programs are not in everybody's PATH. */
const MORE_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** The absolute path of a program. Throws with the package to install when it is missing. */
export function debianProgram(name: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: the next one may have it.
    }
  }
  const hint = PACKAGE_OF[name] ?? 'the package that has it';
  throw new Error(`${name} is missing: apt-get install --no-install-recommends ${hint}`);
}

// The Debian packages that tests and examples need, and why. The product itself needs none of them.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface DebianPackage {
  readonly name: string;
  readonly why: string;
}

export const DEBIAN_PACKAGES: readonly DebianPackage[] = [
  { name: 'libnbd-bin', why: 'nbdinfo, nbdcopy, nbdfuse: the strictest NBD clients' },
  { name: 'python3-libnbd', why: 'nbdsh: single NBD commands, and ones that no client sends' },
  { name: 'nbdkit', why: 'a reference server, to tell our faults from a client’s' },
  { name: 'nbd-client', why: 'the Linux kernel’s NBD' },
  { name: 'strace', why: 'shows that a flush is answered behind fdatasync' },
  { name: 'openssl', why: 'makes the certificates of the TLS tests' },
  { name: 'systemd', why: 'systemd-analyze checks the units; it need not run' },
  { name: 'qemu-utils', why: 'qemu-io and qemu-img: block status, write zeroes, discard' },
  { name: 'fio', why: 'load, and checks of what it wrote' },
  { name: 'e2fsprogs', why: 'mkfs.ext4 and e2fsck on a volume' },
  { name: 'xfsprogs', why: 'mkfs.xfs and xfs_repair on a volume' },
  { name: 'fuse3', why: 'fusermount3, to mount nbdfuse' },
  { name: 'util-linux', why: 'losetup, mount, blkdiscard, flock' },
  { name: 'postgresql', why: 'the database that all this is for' },
  { name: 'postgresql-contrib', why: 'pg_amcheck and the amcheck extension' },
  { name: 'ceph-mon', why: 'a real S3 server with conditional PUT: its monitor' },
  { name: 'ceph-osd', why: 'and its disk' },
  { name: 'radosgw', why: 'and its S3 gateway' },
  { name: 'ceph-common', why: 'and the tools that set it up' },
  { name: 'uuid-runtime', why: 'uuidgen, for the Ceph cluster’s id' },
  { name: 'curl', why: 'asks the gateway whether it is up' },
  { name: 'procps', why: 'ps and sysctl in the fixtures' },
];

/** What examples need beyond that. zfs-fuse stands in where the kernel has no ZFS. */
export const EXAMPLE_PACKAGES: readonly DebianPackage[] = [
  ...DEBIAN_PACKAGES,
  { name: 'zfs-fuse', why: 'ZFS pools, mirrors and L2ARC without a kernel module' },
  { name: 'haproxy', why: 'leads clients to the database that is primary' },
  { name: 'pgbouncer', why: 'keeps their connections while it changes' },
  ...guestPackages(),
];

/** For a guest with a kernel of its own: scripts/vm. */
function guestPackages(): readonly DebianPackage[] {
  return [
    { name: 'qemu-system-x86', why: 'runs the guest' },
    { name: 'mmdebstrap', why: 'makes its root file system' },
    { name: 'busybox-static', why: 'its initrd' },
    { name: 'cpio', why: 'packs the initrd' },
    { name: 'kmod', why: 'finds the modules that the initrd needs' },
  ];
}

/** Those that dpkg does not have fully installed. */
export function missingPackages(names: readonly string[]): readonly string[] {
  const format = '${Package} ${db:Status-Abbrev}\n';
  // Exits with 1 when it does not know one of them, and still lists the others.
  const { stdout, error } = spawnSync('dpkg-query', ['-W', '-f', format, ...names], {
    encoding: 'utf8',
  });
  if (error !== undefined) return names;
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => line.includes(' ii'))
      .map((line) => line.split(' ')[0]!),
  );
  return names.filter((name) => !installed.has(name));
}

/** Installs what is missing when this process may; throws with the command to run when not. */
export function ensureDebianPackages(
  say: (line: string) => void,
  packages: readonly DebianPackage[] = DEBIAN_PACKAGES,
): void {
  const missing = missingPackages(packages.map(({ name }) => name));
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`Debian packages are missing; as root: ${command}`);
  }
  say(`installing ${missing.join(' ')}`);
  withFiles(QUIET_FILES, () => {
    aptGet(['update']);
    // What is there stays: zfs-fuse would take the place of the kernel's ZFS.
    aptGet(['install', '--yes', '--no-install-recommends', '--no-remove', ...missing]);
  });
  const still = missingPackages(missing);
  if (still.length > 0) throw new Error(`apt-get did not install ${still.join(' ')}`);
}

function aptGet(args: readonly string[]): void {
  execFileSync('apt-get', ['--quiet', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/**
 * Packages start what they install. Tests and examples start their own, and a machine keeps only
 * the services that its administrator chose: Debian's postgresql asks the first file before it
 * makes a cluster, every package's invoke-rc.d the second before it starts a daemon (101: not
 * allowed).
 */
const QUIET_FILES = [
  {
    path: '/etc/postgresql-common/createcluster.conf',
    text: 'create_main_cluster = false\n',
    mode: 0o644,
    stays: true,
  },
  { path: '/usr/sbin/policy-rc.d', text: '#!/bin/sh\nexit 101\n', mode: 0o755, stays: false },
] as const;

/** A file that is there already is the administrator's, and stays as it is. */
function withFiles(files: typeof QUIET_FILES, install: () => void): void {
  const ours = files.filter(({ path }) => !existsSync(path));
  for (const { path, text, mode } of ours) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
  }
  let installed = false;
  try {
    install();
    installed = true;
  } finally {
    for (const { path, stays } of ours) if (!installed || !stays) rmSync(path, { force: true });
  }
}

// The Debian packages that the tests need, and why. The product itself needs none of them.

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
export function ensureDebianPackages(say: (line: string) => void): void {
  const missing = missingPackages(DEBIAN_PACKAGES.map(({ name }) => name));
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`the tests need Debian packages that are missing; as root: ${command}`);
  }
  say(`installing ${missing.join(' ')}`);
  withoutMainCluster(() => {
    aptGet(['update']);
    aptGet(['install', '--yes', '--no-install-recommends', ...missing]);
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
 * Debian's postgresql makes a cluster and starts it; the tests make their own. It asks this file
 * first. A file that is there is the administrator's, and stays as it is.
 */
function withoutMainCluster(install: () => void): void {
  const path = '/etc/postgresql-common/createcluster.conf';
  const ours = !existsSync(path);
  if (ours) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, 'create_main_cluster = false\n');
  }
  try {
    install();
  } catch (error) {
    if (ours) rmSync(path, { force: true });
    throw error;
  }
}

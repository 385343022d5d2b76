// How the pool is made, as arguments of zpool, and what the ZFS daemon is started with.
//
// README.md says why each is so. Kernel ZFS takes the same properties; what is zfs-fuse's alone is
// its flags.

export const POOL = 'varvepool';

export const POOL_PROPERTIES = {
  // 4 KiB: a block of the volume. A smaller sector would be read, changed and written back.
  ashift: '12',
} as const;

export const DATASET_PROPERTIES = {
  // varve compresses and seals what it stores: ZFS doing it too would cost CPU twice.
  compression: 'off',
  checksum: 'on',
  atime: 'off',
  // ARC has data as well as metadata, and feeds L2ARC: what ARC may not hold, L2ARC never gets.
  primarycache: 'all',
  secondarycache: 'all',
} as const;

export type Logbias = 'latency' | 'throughput';

export interface PoolOptions {
  readonly device: string;
  readonly mountPoint: string;
  /** `8K`, `16K`, … */
  readonly recordsize: string;
  readonly logbias: Logbias;
}

export function createPoolArgs({
  device,
  mountPoint,
  recordsize,
  logbias,
}: PoolOptions): readonly string[] {
  const dataset = { ...DATASET_PROPERTIES, recordsize, logbias };
  return [
    'create',
    // The device may have belonged to a pool of an earlier run.
    '-f',
    ...flags('-o', POOL_PROPERTIES),
    ...flags('-O', dataset),
    '-m',
    mountPoint,
    POOL,
    device,
  ];
}

export function createDatasetArgs(
  name: string,
  properties: Readonly<Record<string, string>>,
): readonly string[] {
  return ['create', ...flags('-o', properties), `${POOL}/${name}`];
}

function flags(flag: string, properties: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(properties).flatMap(([key, value]) => [flag, `${key}=${value}`]);
}

/** Two caches that ZFS in the kernel has not are off: the page cache, and the vdev cache. */
export function daemonFlags(arcMiB: number): readonly string[] {
  return [
    '--max-arc-size',
    String(arcMiB),
    '--vdev-cache-size',
    '0',
    '--disable-block-cache',
    '--disable-page-cache',
    // pgbench reads single records at random.
    '--zfs-prefetch-disable',
    '--fuse-attr-timeout',
    '3600',
    '--fuse-entry-timeout',
    '3600',
    '--fuse-mount-options',
    'default_permissions',
  ];
}

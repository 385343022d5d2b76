// A machine with PostgreSQL on a ZFS mirror, each side of which lies in another region.
//
//   PostgreSQL ─ ZFS mirror ─┬─ varve ─  5 ms ─ bucket "near"
//                            ├─ varve ─ 40 ms ─ bucket "mid"
//                            └─ varve ─ 120 ms ─ bucket "far"

import { chmod, mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Gateway } from '../../test/support/gateway.ts';
import { Postgres } from '../postgres/postgres.ts';
import { say } from '../support/demo.ts';
import { Region } from '../support/region.ts';
import { ZfsHost } from '../support/zfs-host.ts';

export type Tier = 'store' | 'journal';

export const POOL = 'geo';

/** Of each request between a region's server and its bucket. */
export const LATENCY_MS = { near: 5, mid: 40, far: 120 } as const;
export type RegionName = keyof typeof LATENCY_MS;
export const REGIONS = Object.keys(LATENCY_MS) as readonly RegionName[];

/**
 * How long a side may hold up the whole pool: ZFS waits for every side's flush, and reads from any
 * of them. What cannot reach the bucket fails after this, and the side drops out.
 */
export const TIMEOUT_SECONDS = 10;

export interface SiteOptions {
  readonly gateway: Gateway;
  readonly dir: string;
  readonly tier: Tier;
  readonly volumeSize: string;
  readonly signal: AbortSignal;
}

export class Site {
  readonly regions: ReadonlyMap<RegionName, Region>;
  readonly host: ZfsHost;
  readonly postgres: Postgres;
  readonly #dir: string;

  private constructor(
    dir: string,
    regions: ReadonlyMap<RegionName, Region>,
    host: ZfsHost,
    signal: AbortSignal,
  ) {
    this.#dir = dir;
    this.regions = regions;
    this.host = host;
    const [dataDir, runDir] = [join(dir, 'mnt', 'pgdata'), join(dir, 'pg')];
    this.postgres = new Postgres({ dataDir, runDir, settings: SETTINGS, place: host, signal });
  }

  /** Everything up to a running, empty database. `open` takes it down. */
  static async start(options: SiteOptions, open: AsyncDisposableStack): Promise<Site> {
    const { gateway, dir, tier, volumeSize, signal } = options;
    const folder = join(dir, tier);
    await mkdir(join(folder, 'sides'), { recursive: true });
    // The user of PostgreSQL must get through to its own folders.
    for (const path of [dir, folder]) await chmod(path, 0o755);
    const regions = new Map<RegionName, Region>();
    for (const name of REGIONS) {
      say(`${tier}: region ${name}, ${LATENCY_MS[name]} ms to its bucket`);
      signal.throwIfAborted();
      const region = await Region.start({
        name: `${tier}-${name}`,
        gateway,
        latencyMs: LATENCY_MS[name],
        tier,
        volumeSize,
        flags: ['read', 'write'].flatMap((what) => [`--${what}-timeout`, `${TIMEOUT_SECONDS}`]),
      });
      open.defer(() => region.end());
      regions.set(name, region);
      await region.attach();
    }
    // Past the page cache: ZFS must hear of a write that fails.
    const flags = ['--disable-block-cache', '--max-arc-size', '256'];
    const host = await ZfsHost.start({ dir: join(folder, 'zfs'), flags, signal });
    const site = new Site(folder, regions, host, signal);
    open.defer(async () => {
      await site.postgres.kill();
      await host.kill();
    });
    for (const name of REGIONS) await site.#link(name);
    await site.#createPool();
    await site.postgres.create();
    await site.postgres.start();
    return site;
  }

  region(name: RegionName): Region {
    return this.regions.get(name)!;
  }

  /** The path by which the pool knows a side, whatever its device is called. */
  side(name: RegionName): string {
    return join(this.#dir, 'sides', name);
  }

  /** A side whose device is gone comes back as another device; the pool must not use it. */
  async reattach(name: RegionName): Promise<void> {
    const region = this.region(name);
    await region.detach();
    await region.attach();
    await this.#link(name);
  }

  async #link(name: RegionName): Promise<void> {
    await rm(this.side(name), { force: true });
    await symlink(this.region(name).device, this.side(name));
  }

  async #createPool(): Promise<void> {
    const mountPoint = join(this.#dir, 'mnt');
    const pool = ['-f', '-o', 'ashift=12', '-O', 'compression=off', '-O', 'recordsize=8K'];
    const sides = REGIONS.map((name) => this.side(name));
    const more = ['-O', 'atime=off', '-m', mountPoint];
    await this.host.zpool('create', ...pool, ...more, POOL, 'mirror', ...sides);
    await chmod(this.host.path(mountPoint), 0o755);
  }
}

/** ZFS writes a record whole or not at all, so a page is never torn. */
const SETTINGS = `
full_page_writes = off
wal_init_zero = off
wal_recycle = off
`;

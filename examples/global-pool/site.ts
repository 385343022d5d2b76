// A machine that has the pool: six servers of its own on the six regions' stores, their devices,
// ZFS, PostgreSQL.
//
//   PostgreSQL ─ ZFS ─┬─ mirror ─┬─ varve ─ bucket "eu-1"
//                     │          ├─ varve ─ bucket "us-1"
//                     │          └─ varve ─ bucket "eu-2"
//                     └─ mirror ─┬─ varve ─ bucket "us-2"
//                                ├─ varve ─ bucket "eu-3"
//                                └─ varve ─ bucket "us-3"

import { chmod, mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Gateway } from '../../test/support/gateway.ts';
import { Postgres } from '../postgres/postgres.ts';
import { settle } from '../support/pool.ts';
import { Region } from '../support/region.ts';
import { ZfsHost } from '../support/zfs-host.ts';

export const POOL = 'global';

/** Each mirror has sides on both continents. Any two regions, or one continent, may be lost. */
const MIRRORS = [
  ['eu-1', 'us-1', 'eu-2'],
  ['us-2', 'eu-3', 'us-3'],
] as const;

export type Continent = 'eu' | 'us';

/** Of each request to a bucket, from a machine on the same continent and from one on the other. */
const LATENCY_MS = { near: [5, 10, 15], far: [80, 90, 100] } as const;

/**
 * ZFS takes a flush that fails for one that succeeded, so it must not be told of one: a machine
 * whose servers were fenced waits, until somebody ends it.
 */
const PATIENCE_SECONDS = 3600;

export interface SiteOptions {
  readonly gateway: Gateway;
  /** Of the whole run: the pool is mounted in it, on either machine. */
  readonly dir: string;
  readonly continent: Continent;
  readonly volumeSize: string;
  readonly signal: AbortSignal;
}

export class Site {
  readonly continent: Continent;
  readonly host: ZfsHost;
  readonly postgres: Postgres;
  readonly regions: ReadonlyMap<string, Region>;
  readonly #dir: string;
  readonly #mountPoint: string;

  private constructor(
    { continent, dir, signal }: SiteOptions,
    host: ZfsHost,
    regions: ReadonlyMap<string, Region>,
  ) {
    this.continent = continent;
    this.host = host;
    this.regions = regions;
    this.#dir = join(dir, continent);
    this.#mountPoint = join(dir, 'mnt');
    const [dataDir, runDir] = [join(this.#mountPoint, 'pgdata'), join(this.#dir, 'pg')];
    this.postgres = new Postgres({ dataDir, runDir, settings: SETTINGS, place: host, signal });
  }

  /** Its servers listen, and nothing is attached. Opening a store fences whoever had it before. */
  static async openStores(
    options: SiteOptions & { readonly takesOver: boolean },
    open: AsyncDisposableStack,
  ): Promise<Site> {
    const { gateway, dir, continent, volumeSize, signal, takesOver } = options;
    for (const folder of [continent, join(continent, 'sides'), 'mnt']) {
      await mkdir(join(dir, folder), { recursive: true });
    }
    // The user of PostgreSQL must get through to its own folders.
    for (const folder of [dir, join(dir, continent)]) await chmod(folder, 0o755);
    const regions = new Map<string, Region>();
    const starting = MIRRORS.flat().map(async (name) => {
      const latencyMs = latencyOf(continent, name);
      const tier = 'store';
      const region = await Region.start({ name, gateway, latencyMs, tier, volumeSize, takesOver });
      open.defer(() => region.end());
      regions.set(name, region);
    });
    for (const one of await Promise.allSettled(starting)) {
      if (one.status === 'rejected') throw one.reason;
    }
    const host = await ZfsHost.start({ dir: join(dir, continent, 'zfs'), flags: FLAGS, signal });
    const site = new Site(options, host, regions);
    open.defer(() => site.lose());
    return site;
  }

  /** A pool, and a running, empty database on it. */
  async create(): Promise<void> {
    await this.#attach();
    const mirrors = MIRRORS.flatMap((names) => [
      'mirror',
      ...names.map((name) => this.#side(name)),
    ]);
    const properties = ['-o', 'ashift=12', '-O', 'compression=off', '-O', 'recordsize=8K'];
    const more = ['-O', 'atime=off', '-m', this.#mountPoint];
    await this.host.zpool('create', '-f', ...properties, ...more, POOL, ...mirrors);
    await chmod(this.host.path(this.#mountPoint), 0o755);
    await this.postgres.create();
    await this.postgres.start();
  }

  /** The pool of another machine, which has not let go of it, and the database on it. */
  async takeOver(): Promise<void> {
    await this.#attach();
    await this.host.zpool('import', '-f', '-d', join(this.#dir, 'sides'), POOL);
    await this.postgres.adopt();
    await this.postgres.start();
  }

  /** What was written is in the pool, and not only in its intent log. */
  async settle(): Promise<void> {
    await this.postgres.query('CHECKPOINT');
    await settle(this.host, POOL);
  }

  /** Power off: every process above the servers, and the devices. */
  async lose(): Promise<void> {
    // Frozen first, ZFS never hears that its requests have failed. They must, for a process that
    // waits for its device cannot be ended, and holds it.
    this.host.freeze();
    const detached = Promise.allSettled([...this.regions.values()].map((one) => one.detach(true)));
    await this.host.kill();
    await this.postgres.kill();
    for (const one of await detached) if (one.status === 'rejected') throw one.reason;
  }

  async #attach(): Promise<void> {
    for (const [name, region] of this.regions) {
      await region.attach({ reconnect: 'clean', patienceSeconds: PATIENCE_SECONDS });
      await rm(this.#side(name), { force: true });
      await symlink(region.device, this.#side(name));
    }
  }

  #side(name: string): string {
    return join(this.#dir, 'sides', name);
  }
}

function latencyOf(from: Continent, region: string): number {
  const [continent, number] = region.split('-');
  return LATENCY_MS[continent === from ? 'near' : 'far'][Number(number) - 1]!;
}

const FLAGS = ['--disable-block-cache', '--max-arc-size', '256'];

/** ZFS writes a record whole or not at all, so a page is never torn. */
const SETTINGS = `
full_page_writes = off
wal_init_zero = off
wal_recycle = off
checkpoint_timeout = 30min
`;

// A site: a machine with PostgreSQL on a ZFS mirror of three varve servers, each with a bucket of
// its own. It can be lost as a whole, and come back.
//
//   PostgreSQL ─ ZFS mirror ─┬─ varve ─  5 ms ─ bucket
//                            ├─ varve ─ 10 ms ─ bucket
//                            └─ varve ─ 20 ms ─ bucket

import { chmod, chown, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Gateway } from '../../test/support/gateway.ts';
import { Postgres } from '../postgres/postgres.ts';
import { say } from '../support/demo.ts';
import { exportPool, settle } from '../support/pool.ts';
import { Region } from '../support/region.ts';
import { ZfsHost } from '../support/zfs-host.ts';

export type Tier = 'store' | 'journal';

export const POOL = 'db';

/** Of each request between a server and its bucket. */
const LATENCIES_MS = [5, 10, 20] as const;

const SETTINGS_FILE = join(import.meta.dirname, 'postgresql.conf');

export interface SiteOptions {
  readonly name: string;
  /** Where its database listens, on the loopback. */
  readonly port: number;
  /** The other site, which its database follows while it is standby. */
  readonly other: { readonly port: number };
  readonly gateway: Gateway;
  /** Everybody may enter it. */
  readonly dir: string;
  readonly tier: Tier;
  readonly volumeSize: string;
  readonly signal: AbortSignal;
}

export class Site {
  readonly name: string;
  readonly port: number;
  readonly #options: SiteOptions;
  readonly #regions: Region[] = [];
  #machine: { readonly host: ZfsHost; readonly postgres: Postgres } | undefined;

  private constructor(options: SiteOptions) {
    this.name = options.name;
    this.port = options.port;
    this.#options = options;
  }

  /** Everything up to an empty pool. `open` takes it down. */
  static async start(options: SiteOptions, open: AsyncDisposableStack): Promise<Site> {
    const { name, gateway, tier, volumeSize, dir, signal } = options;
    const site = new Site(options);
    await mkdir(site.#links, { recursive: true });
    for (const [i, latencyMs] of LATENCIES_MS.entries()) {
      signal.throwIfAborted();
      const region = `${name}-${i + 1}`;
      say(`${region}: varve, ${latencyMs} ms from its bucket`);
      site.#regions.push(
        await Region.start({ name: region, gateway, latencyMs, tier, volumeSize }),
      );
      open.defer(() => site.#regions[i]!.end());
    }
    open.defer(() => site.#killMachine());
    await site.#attach();
    await site.#boot();
    const pool = ['-f', '-o', 'ashift=12', '-O', 'compression=off', '-O', 'recordsize=8K'];
    const sides = site.#regions.map((region) => site.#link(region));
    const more = ['-O', 'atime=off', '-m', join(dir, name, 'mnt')];
    await site.host.zpool('create', ...pool, ...more, POOL, 'mirror', ...sides);
    const { uid, gid } = site.postgres.user;
    const mountPoint = site.host.path(join(dir, name, 'mnt'));
    if (uid !== undefined && gid !== undefined) await chown(mountPoint, uid, gid);
    return site;
  }

  get host(): ZfsHost {
    if (this.#machine === undefined) throw new Error(`${this.name} has no machine`);
    return this.#machine.host;
  }

  get postgres(): Postgres {
    if (this.#machine === undefined) throw new Error(`${this.name} has no machine`);
    return this.#machine.postgres;
  }

  /** How others connect to its database. */
  get connection(): string {
    return connectionTo(this);
  }

  /** Makes an empty database of its own, which runs then. */
  async create(): Promise<void> {
    await this.postgres.create();
    await this.postgres.start();
  }

  /** Copies the running database of `primary` and follows it; the slot keeps the WAL until then. */
  async copy(primary: Site): Promise<void> {
    await this.postgres.adopt();
    const slot = [`--slot=${this.name}`, '--create-slot', '--checkpoint=fast'];
    const target = ['-D', this.#dataDir, '-d', primary.connection];
    await this.postgres.run('pg_basebackup', [...target, ...slot]);
    await this.follow();
  }

  /** Starts the database, which was copied or rewound, as a standby of the other site. */
  async follow(): Promise<void> {
    await writeFile(this.host.path(join(this.#dataDir, 'standby.signal')), '', { flush: true });
    await this.postgres.start();
  }

  /** Its last checkpoint is in the pool, and not only in its intent log: see README.md. */
  async settle(): Promise<void> {
    await this.postgres.query('CHECKPOINT');
    await settle(this.host, POOL);
  }

  /**
   * Takes back what this database wrote that `primary` never had: what was committed here and not
   * acknowledged. Afterwards it is older than `primary`, and may follow it. It must have been shut
   * down, and `primary` must have made a checkpoint since its promotion.
   */
  async rewindTo(primary: Site): Promise<void> {
    const source = `--source-server=${primary.connection}`;
    await this.postgres.run('pg_rewind', [`--target-pgdata=${this.#dataDir}`, source]);
  }

  /** PostgreSQL, ZFS and all three servers at once, by SIGKILL: the site has lost its power. */
  async kill(): Promise<void> {
    // Nothing of it may see the rest go: power does not fail in an order.
    this.host.freeze();
    const servers = this.#regions.map(({ server }) => server.kill9());
    await Promise.all([...servers, this.#killMachine()]);
  }

  /** Everything up to the pool, as it was left. PostgreSQL is not started. */
  async comeBack(): Promise<void> {
    say(`${this.name}: the servers start`);
    for (const region of this.#regions) await region.detach();
    await Promise.all(this.#regions.map(({ server }) => server.restart()));
    say(`${this.name}: the devices are attached`);
    await this.#attach();
    await this.#boot();
    say(`${this.name}: the pool is imported`);
    // It was never exported: ZFS asks for -f, because another machine could have it.
    await this.host.zpool('import', '-f', '-d', this.#links, POOL);
    await this.postgres.adopt();
    say(`${this.name}: PostgreSQL recovers`);
  }

  /** Orderly, so that whatever fails on the way is seen. */
  async shutDown(): Promise<void> {
    await this.postgres.stop('fast');
    await exportPool(this.host, POOL);
    await this.#killMachine();
    for (const region of this.#regions) {
      await region.detach();
      const { code, stderr } = await region.server.stop();
      if (code !== 0) throw new Error(`${region.name}: varve exited with ${code}: ${stderr}`);
      await region.server.fsck();
    }
  }

  get #dataDir(): string {
    return join(this.#options.dir, this.name, 'mnt', 'data');
  }

  get #links(): string {
    return join(this.#options.dir, this.name, 'sides');
  }

  /** The path by which the pool knows a side, whatever its device is called. */
  #link(region: Region): string {
    return join(this.#links, region.name);
  }

  async #attach(): Promise<void> {
    for (const region of this.#regions) {
      await rm(this.#link(region), { force: true });
      await symlink(await region.attach(), this.#link(region));
    }
  }

  async #boot(): Promise<void> {
    const { dir, name, port, other, signal } = this.#options;
    const host = await ZfsHost.start({ dir: join(dir, name, 'zfs'), signal });
    const postgres = new Postgres({
      dataDir: this.#dataDir,
      runDir: join(dir, name, 'pg'),
      port,
      settings: await readFile(SETTINGS_FILE, 'utf8'),
      ownSettings: {
        cluster_name: name,
        primary_conninfo: connectionTo(other),
        primary_slot_name: name,
        // None between `settle` and the loss of the site.
        checkpoint_timeout: '30min',
      },
      place: host,
      signal,
    });
    this.#machine = { host, postgres };
    await chmod(join(dir, name), 0o755);
  }

  async #killMachine(): Promise<void> {
    if (this.#machine === undefined) return;
    const { host, postgres } = this.#machine;
    await Promise.all([host.kill(), postgres.kill()]);
  }
}

/** A standby calls itself by its cluster_name. */
function connectionTo({ port }: { readonly port: number }): string {
  return `host=127.0.0.1 port=${port} user=postgres dbname=postgres`;
}

// PostgreSQL on a ZFS pool of its own, on a device that is given, as one thing that goes up, goes
// down, crashes and comes back.
//
//   PostgreSQL ─ ZFS (ARC ─ L2ARC on a local disk) ─ device
//
// The device and that of L2ARC have names of their own, in a folder where `zpool import -d` looks:
// a device that is attached anew may have another number.

import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { exportPool, type PoolStatus, scrub, settle } from '../support/pool.ts';
import { ZfsHost } from '../support/zfs-host.ts';
import { Postgres } from '../postgres/postgres.ts';
import { type Device } from './devices.ts';
import { createPoolArgs, daemonFlags, POOL, type PoolOptions } from './pool.ts';

const SETTINGS = readFileSync(join(import.meta.dirname, 'postgresql.conf'), 'utf8');
/** A database whose WAL finds no room stops. */
const KEPT_FREE_MIB = 128;
const MIB = 1024 * 1024;

export interface DatabaseOptions extends Pick<PoolOptions, 'recordsize' | 'logbias'> {
  /** Its own, on the local disk. */
  readonly dir: string;
  readonly arcMiB: number;
  readonly attach: () => Promise<Device>;
  readonly attachL2arc: () => Promise<Device>;
  readonly signal?: AbortSignal | undefined;
}

export class Database {
  readonly #options: DatabaseOptions;
  readonly #mountPoint: string;
  readonly #links: string;
  #device: Device | undefined;
  #l2arc: Device | undefined;
  #host: ZfsHost | undefined;
  #postgres: Postgres | undefined;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#mountPoint = join(options.dir, 'mnt');
    this.#links = join(options.dir, 'devices');
  }

  get postgres(): Postgres {
    if (this.#postgres === undefined) throw new Error('the database is not up');
    return this.#postgres;
  }

  get host(): ZfsHost {
    if (this.#host === undefined) throw new Error('ZFS is not up');
    return this.#host;
  }

  get device(): Device {
    if (this.#device === undefined) throw new Error('no device is attached');
    return this.#device;
  }

  get mountPoint(): string {
    return this.#mountPoint;
  }

  async create(): Promise<void> {
    const { recordsize, logbias } = this.#options;
    for (const folder of [this.#mountPoint, this.#links]) await mkdir(folder);
    await this.#attach();
    const device = join(this.#links, 'disk');
    const pool = { device, mountPoint: this.#mountPoint, recordsize, logbias };
    await this.host.zpool(...createPoolArgs(pool));
    await this.host.zpool('add', '-f', POOL, 'cache', join(this.#links, 'l2arc'));
    await this.postgres.create();
    await this.postgres.start();
  }

  /** Stops everything in the order in which nothing is lost; then nothing is attached. */
  async down(): Promise<void> {
    await this.postgres.stop('fast');
    await exportPool(this.host, POOL);
    await this.release();
  }

  /** ARC and L2ARC are empty then: neither outlives its pool's export here. */
  async up({ force = false } = {}): Promise<void> {
    await this.#attach();
    const flags = force ? ['-f'] : [];
    await this.host.zpool('import', ...flags, '-d', this.#links, POOL);
    // zfs-fuse writes to the L2ARC of an imported pool, and keeps nothing of it: a new one works.
    const l2arc = join(this.#links, 'l2arc');
    await this.host.zpool('remove', POOL, l2arc);
    await this.host.zpool('add', '-f', POOL, 'cache', l2arc);
    // What a cluster that was killed has left behind keeps no other from starting.
    await this.postgres.adopt();
    await this.postgres.start();
  }

  /** Takes down what is above the device, whatever state it is in. Never stops half-way. */
  async release(): Promise<void> {
    const steps = [
      // With all that runs on it: a process that waits for a ZFS that stands still cannot end.
      async () => this.#host?.kill(),
      async () => this.#postgres?.kill(),
      async () => this.#device?.detach(),
      async () => this.#l2arc?.detach(),
    ];
    const errors: unknown[] = [];
    for (const step of steps) await step().catch((error: unknown) => errors.push(error));
    this.#postgres = undefined;
    this.#host = undefined;
    this.#device = undefined;
    this.#l2arc = undefined;
    if (errors.length > 0) throw new AggregateError(errors, 'the device could not be released');
  }

  /** Reads and verifies every record in use. Throws when one is bad. */
  scrub(): Promise<PoolStatus> {
    return scrub(this.host, POOL);
  }

  settle(): Promise<void> {
    return settle(this.host, POOL);
  }

  /** All free space but what PostgreSQL may need meanwhile; free again afterwards. */
  async fillWithZeroes(): Promise<void> {
    const free = await this.host.zfs('get', '-H', '-p', '-o', 'value', 'available', POOL);
    const count = Math.floor(Number(free) / MIB) - KEPT_FREE_MIB;
    const file = join(this.#mountPoint, 'zeroes');
    const dd = ['if=/dev/zero', `of=${file}`, 'bs=1M', `count=${count}`, 'conv=fsync'];
    await this.host.run('dd', dd);
    await this.host.run('rm', [file]);
    await this.settle();
  }

  async #attach(): Promise<void> {
    const { dir, arcMiB, attach, attachL2arc, signal } = this.#options;
    signal?.throwIfAborted();
    // Before the device: a mount that it makes is then not kept by the namespace of ZFS.
    this.#host = await ZfsHost.start({ dir, flags: daemonFlags(arcMiB), signal });
    this.#postgres = new Postgres({
      dataDir: join(this.#mountPoint, 'pgdata'),
      runDir: join(dir, 'pg'),
      settings: SETTINGS,
      place: this.#host,
      signal,
    });
    this.#device = await attach();
    this.#l2arc = await attachL2arc();
    await link(this.#device.path, join(this.#links, 'disk'));
    await link(this.#l2arc.path, join(this.#links, 'l2arc'));
  }
}

async function link(target: string, path: string): Promise<void> {
  await rm(path, { force: true });
  await symlink(target, path);
}

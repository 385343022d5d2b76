// The same pgbench on the same ZFS on two devices, one of which is a volume of varve; then what a
// crash leaves of the one on the volume.
//
//   1. two pools, two clusters, the same rows
//   2. each run on the one, then on the other: what else the machine does meets both
//   3. cold runs: exported, the server killed, its caches gone, imported again
//   4. the machine is lost under load, server and all: import -f, recovery, every acknowledged
//      commit, pgbench's sums, pg_amcheck, scrub
//   5. what a dropped table's space takes to come back

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { StatusReport } from '../../src/server/http/report.ts';
import type { TestServer } from '../../test/support/server.ts';
import { checkAcknowledged, startAckedWriters } from '../postgres/acked-writer.ts';
import { say } from '../support/demo.ts';
import type { Database } from './database.ts';
import { layersBetween, type Layers, readLayers } from './layers.ts';

const WRITERS = 8;

export interface ScenarioOptions {
  readonly server: TestServer;
  readonly onVarve: Database;
  readonly onFile: Database;
  readonly scale: number;
  readonly seconds: number;
  readonly clients: number;
  /** Commits that are acknowledged before the server is killed. */
  readonly commits: number;
  /** Adds up the objects of the bucket. */
  readonly bucketBytes: () => Promise<number>;
}

export interface Measured {
  readonly tps: number;
  readonly latencyMs: number;
  readonly layers: Layers;
}

export interface Run {
  readonly name: string;
  readonly onVarve: Measured;
  /** Where a state of varve's caches is what differs, there is nothing to compare with. */
  readonly onFile: Measured | undefined;
}

export interface Recovery {
  readonly acknowledged: number;
  /** In the table although their answer never came. */
  readonly unacknowledged: number;
  readonly seconds: number;
  readonly scrub: string;
}

/** At one instant, behind a collection. */
export interface Used {
  /** Bytes of the volume that are not holes. */
  readonly volume: number;
  /** All objects. */
  readonly bucket: number;
}

export interface Space {
  readonly before: Used;
  readonly dropped: Used;
  readonly filled: Used;
}

/** What varve has in its caches when a run begins. ZFS's are empty in all three. */
type Boot = 'killed, caches gone' | 'restarted';

export class Scenario {
  readonly runs: Run[] = [];
  readonly #options: ScenarioOptions;

  constructor(options: ScenarioOptions) {
    this.#options = options;
  }

  async create(): Promise<void> {
    const { onVarve, onFile, scale } = this.#options;
    for (const database of [onVarve, onFile]) {
      await database.create();
      say(`pgbench -i, scale ${scale}, on ${database.device.how}`);
      await database.postgres.pgbenchInit(scale);
      await database.postgres.query('CHECKPOINT');
    }
  }

  async measure(): Promise<void> {
    const lazy = '-c synchronous_commit=off';
    await this.#boot('killed, caches gone');
    await this.#run('read-write, cold');
    await this.#boot('killed, caches gone');
    await this.#run('read-write, synchronous_commit off, cold', { options: lazy });
    await this.checkBalances();
    await this.#run('read-write, warm');
    await this.#run('read-write, synchronous_commit off, warm', { options: lazy });
    await this.#boot('killed, caches gone');
    await this.#run('read-only, cold', { flags: ['-S'] });
    await this.#boot('restarted');
    await this.#run('read-only, varve disk cache', { flags: ['-S'], beside: false });
    // Reads every row once: what ARC has no room for is in L2ARC then.
    await this.checkBalances();
    await this.#run('read-only, warm', { flags: ['-S'] });
  }

  async #run(
    name: string,
    { flags = [], options = '', beside = true }: RunOptions = {},
  ): Promise<void> {
    const { onVarve, onFile, server } = this.#options;
    const args = [...flags, '-c', String(this.#options.clients), '-j', '2'];
    const pgbench = async (
      database: Database,
      status: () => Promise<StatusReport | undefined>,
    ): Promise<Measured> => {
      const before = await readLayers(database, await status());
      const { tps, latencyMs } = await database.postgres.pgbench(
        [...args, '-T', String(this.#options.seconds)],
        options,
      );
      const layers = layersBetween(before, await readLayers(database, await status()));
      // What it leaves to be written must not be the next run's.
      await database.postgres.query('CHECKPOINT');
      return { tps, latencyMs, layers };
    };
    const varve = await pgbench(onVarve, () => server.status());
    const file = beside ? await pgbench(onFile, async () => undefined) : undefined;
    const other = file === undefined ? '' : `, on a local file ${file.tps.toFixed(0)}`;
    say(`${name}: ${varve.tps.toFixed(0)} TPS${other}`);
    this.runs.push({ name, onVarve: varve, onFile: file });
  }

  /** Both pools are exported and imported, one of them behind the server's back. */
  async #boot(how: Boot): Promise<void> {
    const { onVarve, onFile, server } = this.#options;
    say(`zpool export, varve ${how}, zpool import`);
    await onVarve.down();
    if (how === 'restarted') await stopCleanly(server);
    else {
      // The export has flushed everything: a server that dies behind it takes nothing along.
      await server.kill9();
      await rm(join(server.stateDir, 'cache'), { recursive: true, force: true });
    }
    await server.restart();
    await onVarve.up();
    await onFile.down();
    await onFile.up();
  }

  async crash(): Promise<Recovery> {
    const { onVarve, server, seconds, commits } = this.#options;
    say(`${WRITERS} clients note their acknowledged commits while pgbench runs beside them`);
    // zfs-fuse forgets what a file has to commit when it is closed: an fsync by a new handle does
    // nothing (README.md), and PostgreSQL's checkpoints are such. So none may be younger than the
    // last transaction group when the machine is lost. The WAL is synced by who wrote it.
    await onVarve.postgres.query('CHECKPOINT');
    await onVarve.settle();
    const writers = await startAckedWriters(onVarve.postgres, WRITERS);
    // It is still running when the server is killed, and fails with it.
    const pgbench = onVarve.postgres.pgbench(['-c', '4', '-T', String(seconds + 600)]);
    const pgbenchEnded = pgbench.then(
      () => {},
      () => {},
    );
    try {
      await writers.reach(commits);
      say('the machine is lost: ZFS stands still, kill -9 of varve, then of all above it');
      // Not varve first: ZFS ignores a flush that fails (README.md), so what it acknowledges
      // between the death of its device and its own is lost, as on any device.
      onVarve.host.freeze();
      await server.kill9();
      await onVarve.release();
    } finally {
      await writers.end();
      await onVarve.release();
      await pgbenchEnded;
    }
    const { size } = writers.acknowledged;
    say(`${size} commits were acknowledged before it; starting again`);
    const started = performance.now();
    await server.restart();
    await onVarve.up({ force: true });
    const recovery = (performance.now() - started) / 1000;
    say(`after ${recovery.toFixed(1)} s: pool imported, PostgreSQL has recovered`);
    const { unacknowledged } = await checkAcknowledged(onVarve.postgres, writers.acknowledged);
    say(`all ${size} acknowledged commits are there, and ${unacknowledged} without their answer`);
    await this.checkBalances();
    await onVarve.postgres.amcheck();
    say('pg_amcheck finds nothing');
    const { scan: scrub } = await onVarve.scrub();
    say(`zpool scrub: ${scrub}`);
    return { acknowledged: size, unacknowledged, seconds: recovery, scrub };
  }

  /** Throws when pgbench's sums differ. */
  async checkBalances(): Promise<void> {
    const { onVarve, onFile } = this.#options;
    for (const { postgres } of [onVarve, onFile]) await postgres.checkBalances();
    say("pgbench's sums agree on both");
  }

  /**
   * zfs-fuse has no trim: what it frees stays stored. Zeroes written over it are holes to varve, so
   * a file of zeroes in the free space does what `zpool trim` does elsewhere.
   */
  async space(): Promise<Space> {
    const { onVarve } = this.#options;
    const before = await this.#used();
    await onVarve.postgres.query(
      'DROP TABLE pgbench_accounts, pgbench_tellers, pgbench_branches, pgbench_history, acked',
    );
    await onVarve.postgres.query('CHECKPOINT');
    await onVarve.settle();
    const dropped = await this.#used();
    await onVarve.fillWithZeroes();
    const filled = await this.#used();
    return { before, dropped, filled };
  }

  async #used(): Promise<Used> {
    const { server, bucketBytes } = this.#options;
    await server.command('gc');
    const { volumes } = await server.status();
    const used = { volume: volumes[0]!.used, bucket: await bucketBytes() };
    say(`the volume holds ${used.volume} bytes, the bucket ${used.bucket}`);
    return used;
  }
}

interface RunOptions {
  readonly flags?: readonly string[];
  /** PGOPTIONS. */
  readonly options?: string;
  /** Also on the local file. */
  readonly beside?: boolean;
}

async function stopCleanly(server: TestServer): Promise<void> {
  const { code, stderr } = await server.stop();
  if (code !== 0) throw new Error(`varve serve exited with ${code}: ${stderr}`);
}

// What happens to the database when a region loses its bucket, and when one loses its server.
//
//   1. one client alone, for what a commit costs; then clients that note every acknowledged
//      transaction, all sides in order
//   2. the bucket of "mid" goes dark; it comes back, and the side gets what it missed
//   3. the server of "far" is killed; it starts again, its device is attached anew, and gets only
//      what it missed
//   4. every acknowledged transaction, pg_amcheck, a scrub

import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger, type LedgerCheck, Load } from '../../test/torture/ledger.ts';
import { until } from '../../test/support/command.ts';
import { say } from '../support/demo.ts';
import { exportPool, poolStatus, scanned, scrub } from '../support/pool.ts';
import { POOL, type RegionName, Site, type SiteOptions, TIMEOUT_SECONDS } from './site.ts';

/** ZFS asks a side that has failed whether it is gone for good, which takes it a while. */
const DEGRADED_MS_MAX = 120_000;
/** A server that keeps up trails by a second or two. */
const LAG_SECONDS_MAX = 5;
/** Of the client that is alone: enough for a mean, and a few seconds in either tier. */
const LONE_TRANSACTIONS = 20;

export interface GeoMirrorOptions extends SiteOptions {
  readonly scale: number;
  readonly clients: number;
  /** Of the quiet part, and how long a region is away. */
  readonly seconds: number;
}

export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly commits: number;
  /** The slowest transaction that was answered in it, or still waited at its end. */
  readonly stallSeconds: number;
  /** The pool's, at its end. */
  readonly state: string;
}

/** A side that was away and came back. */
export interface Absence {
  readonly region: RegionName;
  readonly why: string;
  /** What the other sides were given meanwhile. */
  readonly writtenBytes: number;
  /** What ZFS copied to it, rounded as `zpool status` does. */
  readonly resilveredBytes: number;
  /** Of all that the side holds. */
  readonly storedBytes: number;
}

export interface GeoMirrorResult {
  /** The mean of one client's transactions while nobody else works: its COMMIT is most of it. */
  readonly loneMs: number;
  readonly phases: readonly Phase[];
  readonly absences: readonly Absence[];
  readonly ledger: LedgerCheck;
  readonly scrub: string;
}

export async function runGeoMirror(options: GeoMirrorOptions): Promise<GeoMirrorResult> {
  await using open = new AsyncDisposableStack();
  const site = await Site.start(options, open);
  const { scale, clients, tier, dir } = options;
  say(`${tier}: PostgreSQL runs on the mirror: one client alone`);
  const loneMs = await loneLatency(site);
  say(`${tier}: ${loneMs.toFixed(0)} ms for a transaction; pgbench -i -s ${scale}`);
  await Ledger.create(site.postgres, scale);
  const ledger = new Ledger({ file: `${dir}/${tier}-ledger`, scale, clients, seed: 1 });
  const load = new Load(site.postgres, ledger);
  open.defer(() => load.kill());
  const run = new Run(options, site, load);
  await run.phase('all sides in order', () => run.pause());
  await run.darkBucket('mid');
  await run.deadServer('far');
  await load.finish();
  const checked = await ledger.check(site.postgres);
  await site.postgres.amcheck();
  say(`${tier}: all ${checked.acknowledged} acknowledged transactions are there; scrub`);
  await site.postgres.stop('fast');
  const { scan } = await scrub(site.host, POOL);
  await exportPool(site.host, POOL);
  for (const region of site.regions.values()) {
    await region.detach();
    const { code, stderr } = await region.server.stop();
    if (code !== 0) throw new Error(`${region.name} exited with ${code}: ${stderr}`);
  }
  const { phases, absences } = run;
  return { loneMs, phases, absences, ledger: checked, scrub: scan };
}

/** On tables that are made anew for the clients. */
async function loneLatency({ postgres }: Site): Promise<number> {
  await postgres.pgbenchInit(1);
  // What making them leaves to be written must not be waited for.
  await postgres.query('CHECKPOINT');
  const { latencyMs } = await postgres.pgbench(['-c', '1', '-t', `${LONE_TRANSACTIONS}`]);
  return latencyMs;
}

class Run {
  readonly phases: Phase[] = [];
  readonly absences: Absence[] = [];
  readonly #options: GeoMirrorOptions;
  readonly #site: Site;
  readonly #load: Load;

  constructor(options: GeoMirrorOptions, site: Site, load: Load) {
    this.#options = options;
    this.#site = site;
    this.#load = load;
  }

  pause(): Promise<void> {
    return sleep(this.#options.seconds * 1000, undefined, { signal: this.#options.signal });
  }

  async phase<T>(name: string, work: () => Promise<T>): Promise<T> {
    say(`${this.#options.tier}: ${name}`);
    this.#load.takeSlowestMs();
    const before = this.#load.acknowledged;
    const startMs = performance.now();
    const result = await work();
    // Whatever happened, every client goes on and none has met an error.
    await this.#load.advance(1);
    const seconds = (performance.now() - startMs) / 1000;
    const stallSeconds = this.#load.takeSlowestMs() / 1000;
    const commits = this.#load.acknowledged - before;
    const { state } = await poolStatus(this.#site.host, POOL);
    this.phases.push({ name, seconds, commits, stallSeconds, state });
    return result;
  }

  /** In the journal tier the side never drops out: its journal takes what the bucket cannot. */
  async darkBucket(name: RegionName): Promise<void> {
    const { tier } = this.#options;
    const { network } = this.#site.region(name);
    const written = await this.#written('near');
    await this.phase(`the bucket of ${name} is dark`, async () => {
      await network.dark('blackHole');
      if (tier === 'store') await this.#degraded(name);
      await this.pause();
    });
    await network.light();
    if (tier === 'store') {
      await this.phase(`${name} is back, and gets what it missed`, async () => {
        await this.#takesWrites(name);
        const clear = ['clear', POOL, this.#site.side(name)];
        await this.#noteAbsence(name, 'no bucket', written, clear);
      });
    } else {
      await this.phase(`${name} is back, and its bucket catches up`, () => this.#drained(name));
    }
  }

  async deadServer(name: RegionName): Promise<void> {
    const { host } = this.#site;
    const side = this.#site.side(name);
    const region = this.#site.region(name);
    const written = await this.#written('near');
    await this.phase(`the server of ${name} is killed`, async () => {
      await region.server.kill9();
      await this.#degraded(name);
      await this.pause();
    });
    await this.phase(`${name} is back, and gets what it missed`, async () => {
      // ZFS lets go of the dead device, which can then be taken away.
      await host.zpool('offline', POOL, side);
      await region.server.restart();
      await this.#site.reattach(name);
      await this.#noteAbsence(name, 'no server', written, ['online', POOL, side]);
    });
  }

  async #written(name: RegionName): Promise<number> {
    const { nbd } = await this.#site.region(name).server.status();
    return nbd?.bytesWritten ?? 0;
  }

  async #degraded(name: RegionName): Promise<void> {
    const side = this.#site.side(name);
    const isOut = async (): Promise<boolean> => {
      const { state, devices } = await poolStatus(this.#site.host, POOL);
      return state === 'DEGRADED' && devices.get(side)?.state !== 'ONLINE';
    };
    await until(`${name} drops out`, isOut, { timeoutMs: DEGRADED_MS_MAX, everyMs: 500 });
  }

  /** Behind a flush that has failed a server takes writes again once the store has answered. */
  async #takesWrites(name: RegionName): Promise<void> {
    await until(`${name} takes writes`, () => this.#hasDrained(name), {
      timeoutMs: 6 * TIMEOUT_SECONDS * 1000,
      everyMs: 250,
    });
  }

  #drained(name: RegionName): Promise<void> {
    return until(`the bucket of ${name} has everything`, () => this.#hasDrained(name), {
      timeoutMs: DEGRADED_MS_MAX,
      everyMs: 250,
    });
  }

  async #hasDrained(name: RegionName): Promise<boolean> {
    const status = await this.#site.region(name).server.status();
    return status.outage === undefined && status.lagSeconds < LAG_SECONDS_MAX;
  }

  /** `command` of zpool lets the side take part again, and ZFS copies what it lacks. */
  async #noteAbsence(
    region: RegionName,
    why: string,
    before: number,
    command: readonly string[],
  ): Promise<void> {
    const { host } = this.#site;
    const { devices } = await scanned(host, POOL, () => host.zpool(...command));
    const writtenBytes = (await this.#written('near')) - before;
    const { resilveredBytes = 0 } = devices.get(this.#site.side(region)) ?? {};
    const { volumes } = await this.#site.region(region).server.status();
    this.absences.push({
      region,
      why,
      writtenBytes,
      resilveredBytes,
      storedBytes: volumes[0]!.used,
    });
  }
}

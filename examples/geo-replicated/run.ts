// Two databases at two sites, one lost and one promoted, and the way back.
//
//   1. east: primary; west: a copy of it that follows; COMMIT waits for both
//   2. clients with a ledger of what was acknowledged, through PgBouncer and HAProxy
//   3. kill -9 of all of east; fence it; promote west; the clients go on, the ledger is complete
//   4. east is back as it was, and takes itself for the primary: nobody is led there, and no commit
//      of its own is acknowledged
//   5. pg_rewind, east follows west, COMMIT waits for both again: all under load
//   6. both hold the same and every transaction acknowledged; pg_amcheck, scrubs, fsck

import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { until } from '../../test/support/command.ts';
import { freePorts } from '../../test/support/free-ports.ts';
import { openGateway } from '../../test/support/gateway.ts';
import { Ledger, type LedgerCheck, Load } from '../../test/torture/ledger.ts';
import { say } from '../support/demo.ts';
import { scrub } from '../support/pool.ts';
import { Proxies } from './proxies.ts';
import { caughtUp, fingerprint, promote, replicateSynchronously, syncState } from './roles.ts';
import { POOL, Site, type Tier } from './site.ts';

export interface RunOptions {
  readonly tier: Tier;
  readonly scale: number;
  readonly clients: number;
  /** Of load before the site is lost. */
  readonly seconds: number;
  readonly volumeSize: string;
  readonly signal: AbortSignal;
  /** Called as each step begins, with the folder that all of it lies in. */
  readonly onStep?: (name: string, folder: string) => void;
}

/** Of the clients, while something was done. */
export interface Step {
  readonly name: string;
  readonly seconds: number;
  readonly commits: number;
  /** The longest that one of them waited for an answer. */
  readonly slowestMs: number;
  readonly reconnections: number;
}

export interface RunResult {
  readonly steps: readonly Step[];
  readonly noticedMs: number;
  readonly promotedMs: number;
  /** From the kill on: HAProxy leads to the new primary; every client has an answer again. */
  readonly ledMs: number;
  readonly answeredMs: number;
  /** Right behind the promotion, on the new primary. */
  readonly promotedCheck: LedgerCheck;
  /** In the end. */
  readonly primaryCheck: LedgerCheck;
  readonly standbyCheck: LedgerCheck;
  readonly fingerprints: readonly [primary: string, standby: string];
  /** Of the old primary when it was back: as HAProxy had it, and what a commit there waited for. */
  readonly fenced: { readonly state: string; readonly waitedFor: string; readonly answer: string };
  /** Which database a client was led to then, and in the end; how COMMIT waits in the end. */
  readonly ledTo: readonly [string, string];
  readonly syncState: string;
  /** Timelines of the standby's and the primary's data in the end. */
  readonly timelines: readonly [string, string];
}

/** Twice what a client takes to fail, so that a missing primary costs few processes. */
const RECONNECT_AFTER_MS = 500;
/** What each client does before a step counts as survived. */
const ANSWERS = 5;
/** Ids of the ledger are below. */
const STRAGGLER = '9000000000000';
/** Far longer than a commit that waits for nobody. */
const STRAGGLER_WAITS_MS = 2000;

interface World {
  readonly options: RunOptions;
  readonly east: Site;
  readonly west: Site;
  readonly proxies: Proxies;
  readonly ledger: Ledger;
  readonly steps: Step[];
  readonly step: <T>(name: string, load: Load, work: () => Promise<T>) => Promise<T>;
  /** Ended by whatever ends the run. */
  startLoad(): Load;
}

export async function run(options: RunOptions): Promise<RunResult> {
  await using open = new AsyncDisposableStack();
  const world = await build(options, open);
  const { east, west, proxies, ledger, steps } = world;
  const load = world.startLoad();
  await load.advance(ANSWERS);
  await world.step('both sites', load, () => sleep(options.seconds * 1000, undefined, options));
  const failover = await failOver(world, load);
  await load.finish();
  say('every acknowledged transaction must be on the new primary');
  const promotedCheck = await ledger.check(west.postgres);

  const second = world.startLoad();
  await second.advance(ANSWERS);
  const fenced = await world.step('the old primary is back, fenced', second, () => comeBack(world));
  const ledThen = await proxies.client.query('SHOW cluster_name');
  await world.step('pg_rewind, and it follows', second, async () => {
    await east.rewindTo(west);
    await east.follow();
  });
  await world.step('COMMIT waits for both again', second, () => replicateSynchronously(west, east));
  await proxies.admit(east.name);
  await world.step('both sites again', second, () => second.advance(ANSWERS));
  await second.finish();
  say('both databases are compared');
  await caughtUp(west, east);
  const compared = await compare(world);
  const result = {
    steps,
    ...failover,
    promotedCheck,
    ...compared,
    fenced,
    ledTo: [ledThen, await proxies.client.query('SHOW cluster_name')] as const,
    syncState: await syncState(west, east),
  };
  await shutDown(world);
  return result;
}

async function build(options: RunOptions, open: AsyncDisposableStack): Promise<World> {
  const { tier, volumeSize, scale, clients, signal } = options;
  const dir = await mkdtemp(join(tmpdir(), 'varve-replicated-'));
  open.defer(() => rm(dir, { recursive: true, force: true }));
  // The user of PostgreSQL must get through to its own folders.
  await chmod(dir, 0o755);
  const begin = (name: string): void => {
    signal.throwIfAborted();
    say(name);
    options.onStep?.(name, dir);
  };
  begin('starting Ceph RGW');
  const gateway = await openGateway();
  open.defer(() => gateway.stop());
  const [eastPort, westPort] = await freePorts();
  const shared = { gateway, dir, tier, volumeSize, signal };
  const ends = [{ port: eastPort }, { port: westPort }] as const;
  const east = await Site.start({ ...shared, name: 'east', ...ends[0], other: ends[1] }, open);
  const west = await Site.start({ ...shared, name: 'west', ...ends[1], other: ends[0] }, open);
  begin('east is primary, west copies it');
  await east.create();
  const file = join(dir, 'ledger.txt');
  const ledger = new Ledger({ file, scale, clients, seed: 1 });
  await Ledger.create(east.postgres, scale);
  await west.copy(east);
  await replicateSynchronously(east, west);
  await east.settle();
  const proxies = await Proxies.start(join(dir, 'proxies'), [east, west], signal);
  open.defer(() => proxies.end());
  const steps: Step[] = [];
  return {
    options,
    east,
    west,
    proxies,
    ledger,
    steps,
    step: async (name, load, work) => {
      begin(name);
      const { value, step } = await measure(name, load, work);
      steps.push(step);
      return value;
    },
    startLoad() {
      const load = new Load(proxies.client, ledger, { reconnectAfterMs: RECONNECT_AFTER_MS });
      open.defer(() => load.kill());
      return load;
    },
  };
}

async function measure<T>(
  name: string,
  load: Load,
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly step: Step }> {
  const before = { commits: load.acknowledged, reconnections: load.reconnections };
  load.takeSlowestMs();
  const startMs = performance.now();
  const value = await work();
  const step = {
    name,
    seconds: (performance.now() - startMs) / 1000,
    commits: load.acknowledged - before.commits,
    slowestMs: load.takeSlowestMs(),
    reconnections: load.reconnections - before.reconnections,
  };
  return { value, step };
}

async function failOver(
  { east, west, proxies, step }: World,
  load: Load,
): Promise<Pick<RunResult, 'noticedMs' | 'promotedMs' | 'ledMs' | 'answeredMs'>> {
  return await step('kill -9 of all of east, west promoted', load, async () => {
    const killedMs = performance.now();
    await east.kill();
    await until('HAProxy notices', async () => (await proxies.state(east.name)) === 'DOWN');
    const noticedMs = performance.now() - killedMs;
    // First the fence: from here on nobody is led to the old primary, even if it was not dead but
    // only out of sight. Promoted before, there could be two for a moment.
    await proxies.fence(east.name);
    const fencedMs = performance.now();
    await promote(west, east);
    const promotedMs = performance.now() - fencedMs;
    await until('HAProxy leads to it', async () => (await proxies.state(west.name)) === 'UP');
    const ledMs = performance.now() - killedMs;
    await load.advance(1);
    const answeredMs = performance.now() - killedMs;
    // pg_rewind looks for the new timeline in the control file, which a checkpoint writes.
    await west.postgres.query('CHECKPOINT');
    await load.advance(ANSWERS);
    return { noticedMs, promotedMs, ledMs, answeredMs };
  });
}

/**
 * The old primary starts as it was left, and is primary, by its own lights. A client that gets past
 * the fence has its commit written there, waits for a standby that does not come, and gets no
 * answer.
 */
async function comeBack({ east, proxies }: World): Promise<RunResult['fenced']> {
  await east.comeBack();
  await east.postgres.start();
  const state = await proxies.state(east.name);
  const session = east.postgres.session();
  const said = text(session.stdout!);
  const ended = once(session, 'close');
  session.stdin?.on('error', () => {});
  session.stdin?.write(`INSERT INTO ledger VALUES (${STRAGGLER}, 0);\n\\echo committed\n`);
  const waits = `SELECT wait_event FROM pg_stat_activity WHERE query LIKE '%${STRAGGLER}, 0%'
    AND pid <> pg_backend_pid() AND state = 'active'`;
  await until('the straggler waits', async () => (await east.postgres.query(waits)) === 'SyncRep');
  await sleep(STRAGGLER_WAITS_MS);
  const waitedFor = await east.postgres.query(waits);
  await east.postgres.stop('fast');
  await ended;
  return { state, waitedFor, answer: await said };
}

async function compare({
  east,
  west,
  ledger,
}: World): Promise<
  Pick<RunResult, 'primaryCheck' | 'standbyCheck' | 'fingerprints' | 'timelines'>
> {
  const timeline = 'SELECT timeline_id FROM pg_control_checkpoint()';
  const primaryCheck = await ledger.check(west.postgres);
  const standbyCheck = await ledger.check(east.postgres);
  const fingerprints = [
    await fingerprint(west.postgres),
    await fingerprint(east.postgres),
  ] as const;
  say('pg_amcheck on both');
  await west.postgres.amcheck();
  await caughtUp(west, east);
  await east.postgres.amcheck();
  await west.postgres.query('CHECKPOINT');
  await caughtUp(west, east);
  await east.postgres.query('CHECKPOINT');
  const timelines = [
    await east.postgres.query(timeline),
    await west.postgres.query(timeline),
  ] as const;
  return { primaryCheck, standbyCheck, fingerprints, timelines };
}

async function shutDown({ east, west, proxies }: World): Promise<void> {
  say('both pools are scrubbed');
  await scrub(west.host, POOL);
  await scrub(east.host, POOL);
  say('shutting down; fsck of all six stores');
  await proxies.end();
  // The primary first: its standby then has all of it, to the last record.
  await west.shutDown();
  await east.shutDown();
}

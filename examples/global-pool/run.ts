// The pool changes hands while its machine is alive and works.
//
//   1. machine "eu" has the pool; clients note every acknowledged transaction
//   2. machine "us" opens the six stores: from then on no server of "eu" can make anything durable
//   3. "us" attaches, imports, PostgreSQL recovers
//   4. "eu" goes on trying, and acknowledges nothing; then it is ended
//   5. every acknowledged transaction is there; clients go on at "us"; pg_amcheck, a scrub

import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../test/support/command.ts';
import { Ledger, type LedgerCheck, Load } from '../../test/torture/ledger.ts';
import { say } from '../support/demo.ts';
import { exportPool, scrub } from '../support/pool.ts';
import { POOL, Site, type SiteOptions } from './site.ts';

/** Varve's exit code for a server whose store another has opened. */
const FENCED = 3;
const FENCED_MS_MAX = 120_000;

export interface GlobalPoolOptions extends Omit<SiteOptions, 'continent'> {
  readonly scale: number;
  readonly clients: number;
  /** How long clients work before the pool is taken over, how long the late primary tries, and how
   * long they work at the new one. */
  readonly seconds: number;
}

export interface GlobalPoolResult {
  /** Of transactions at the first machine, and at the second one. */
  readonly tps: readonly [number, number];
  /** From the decision until the last of six stores was opened, and PostgreSQL answered. */
  readonly fencedSeconds: number;
  readonly promotedSeconds: number;
  /** Exit codes of the first machine's servers. */
  readonly exitCodes: readonly (number | null)[];
  /** What the first machine acknowledged behind the opening of the last store. */
  readonly late: number;
  readonly taken: LedgerCheck;
  readonly end: LedgerCheck;
  readonly scrub: string;
}

export async function runGlobalPool(options: GlobalPoolOptions): Promise<GlobalPoolResult> {
  await using open = new AsyncDisposableStack();
  const { signal, scale, clients, seconds, dir } = options;
  const pause = (): Promise<void> => sleep(seconds * 1000, undefined, { signal });
  say('machine eu: six servers, a pool over six regions');
  const first = await Site.openStores({ ...options, continent: 'eu', takesOver: false }, open);
  await first.create();
  await Ledger.create(first.postgres, scale);
  await first.settle();
  const ledger = new Ledger({ file: `${dir}/ledger`, scale, clients, seed: 1 });
  const load = new Load(first.postgres, ledger);
  open.defer(() => load.kill());
  await pause();
  load.throwIfFailed();
  const tpsBefore = load.acknowledged / seconds;

  say('machine us opens the six stores, under the load');
  const startMs = performance.now();
  const since = (): number => (performance.now() - startMs) / 1000;
  const second = await Site.openStores({ ...options, continent: 'us', takesOver: true }, open);
  const fencedSeconds = since();
  const atFence = load.acknowledged;
  say('machine us imports the pool, PostgreSQL recovers');
  await second.takeOver();
  const promotedSeconds = since();

  say('machine eu still tries');
  await pause();
  const late = load.acknowledged - atFence;
  const exitCodes = await exitsOf(first);
  say(`its servers ended with ${exitCodes.join(', ')}; now it is ended itself`);
  await load.kill();
  await first.lose();

  const taken = await ledger.check(second.postgres);
  say(`all ${taken.acknowledged} acknowledged transactions are there: clients go on`);
  const again = new Load(second.postgres, ledger);
  open.defer(() => again.kill());
  await pause();
  await again.finish();
  const tpsAfter = again.acknowledged / seconds;
  const end = await ledger.check(second.postgres);
  await second.postgres.amcheck();
  await second.postgres.stop('fast');
  say('scrub');
  const { scan } = await scrub(second.host, POOL);
  await exportPool(second.host, POOL);
  await stopServers(second);
  const tps = [tpsBefore, tpsAfter] as const;
  return { tps, fencedSeconds, promotedSeconds, exitCodes, late, taken, end, scrub: scan };
}

/** A server finds the fence when it has something to make durable, which a pool always has. */
async function exitsOf({ regions }: Site): Promise<readonly (number | null)[]> {
  const codes = new Map<string, number | null>();
  for (const [name, { server }] of regions) {
    void server.ended.then(({ code }) => codes.set(name, code));
  }
  await until('the first machine’s servers end', () => codes.size === regions.size, {
    timeoutMs: FENCED_MS_MAX,
  });
  const others = [...codes].filter(([, code]) => code !== FENCED);
  if (others.length > 0) throw new Error(`not fenced: ${JSON.stringify(others)}`);
  return [...codes.values()];
}

async function stopServers({ regions }: Site): Promise<void> {
  for (const region of regions.values()) {
    await region.detach();
    const { code, stderr } = await region.server.stop();
    if (code !== 0) throw new Error(`${region.name} exited with ${code}: ${stderr}`);
  }
}

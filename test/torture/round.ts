// One round: work, a disturbance at a random moment, recovery if it takes one, every check.

import { performance } from 'node:perf_hooks';
import type { Rng } from '../../src/base/rng.ts';
import { type Disturbance, pause } from './disturbances.ts';
import { Load } from './ledger.ts';
import type { World } from './world.ts';

/** Work before the disturbance. */
const WARM_SECONDS = { min: 0.3, max: 4 };
/** Answers that each client must get after what it must survive. */
const ANSWERS_AFTER = 3;

export interface RoundResult {
  readonly kind: string;
  readonly what: string;
  /** Whether varve and the database had to start again. */
  readonly crashed: boolean;
  /** Transactions acknowledged in this round. */
  readonly transactions: number;
  /** Since the store was made: acknowledged, found in the table. */
  readonly acknowledged: number;
  readonly found: number;
  /** Ordered writes that are there. */
  readonly ordered: number;
  readonly recoverySeconds: number;
  readonly seconds: number;
}

/** Throws what is wrong. */
export async function runRound(
  world: World,
  disturbance: Disturbance,
  rng: Rng,
): Promise<RoundResult> {
  const startedMs = performance.now();
  const { machine, ordered, ledger, ground } = world;
  ordered.start(Math.floor(rng.float() * 2 ** 31));
  const load = new Load(machine.postgres, ledger);
  let what = '';
  let crashed = disturbance.outcome === 'crash';
  try {
    await load.advance(1);
    await pause(world, rng, WARM_SECONDS.min, WARM_SECONDS.max);
    load.throwIfFailed();
    what = await disturbance.run({ world, rng });
    if (!crashed) {
      crashed = !(await goesOn(world, load).catch((error: unknown) => {
        if (disturbance.outcome === 'survives') throw error;
        return false;
      }));
      if (crashed) await world.crash();
    }
  } finally {
    await load.kill();
    await ordered.stop();
  }
  const downMs = performance.now();
  if (crashed) await machine.recover();
  const recoverySeconds = crashed ? (performance.now() - downMs) / 1000 : 0;
  ground.network?.proxy.set({});
  const { acknowledged, found } = await ledger.check(machine.postgres);
  await machine.postgres.amcheck();
  return {
    kind: disturbance.name,
    what,
    crashed,
    transactions: load.acknowledged,
    acknowledged,
    found,
    ordered: await ordered.check(world.scratch),
    recoverySeconds,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

/** True when nobody has noticed anything. Throws what somebody met. */
async function goesOn({ server, ordered }: World, load: Load): Promise<true> {
  await load.advance(ANSWERS_AFTER);
  await load.finish();
  ordered.throwIfFailed();
  await server.status();
  return true;
}

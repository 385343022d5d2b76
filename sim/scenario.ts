// One run: a lane (lane.ts) for every branch, until the clients have used up their operations. Then
// the network is good and finish.ts has the last word.

import type { BranchModel } from './branch-model.ts';
import { finish } from './finish.ts';
import { Lane, Processes } from './lane.ts';
import type { NewStores } from './new-stores.ts';
import { createSimulation, type Simulation } from './simulation.ts';

export interface RunResult {
  readonly seed: number;
  readonly traceHash: string;
  readonly virtualMs: number;
  readonly counters: Readonly<Record<string, number>>;
}

/** Runs one seed. Throws Violation. `stores` may serve many runs. */
export async function runSeed(
  seed: number,
  stores: NewStores,
  onTrace?: (line: string) => void,
): Promise<RunResult> {
  const simulation = await createSimulation(seed, stores, onTrace);
  const { world } = simulation;
  const processes = new Processes();
  const onUnhandled = (error: unknown): void => {
    world.fail(`a promise was left alone with its failure: ${String(error)}`, error);
  };
  process.on('unhandledRejection', onUnhandled);
  try {
    await world.run(() => runAll(simulation, processes));
  } finally {
    process.off('unhandledRejection', onUnhandled);
    processes.killAll();
  }
  const counters = {
    ...simulation.operations.counters,
    ...simulation.counters,
    objects: simulation.store.memory.objects.size,
  };
  return { seed, traceHash: world.traceHash, virtualMs: world.nowMs, counters };
}

async function runAll(simulation: Simulation, processes: Processes): Promise<void> {
  const { world, dice } = simulation;
  const lanes: Lane[] = [];
  const running: Promise<void>[] = [];
  const start = (branch: BranchModel): void => {
    const lane = new Lane(branch, processes, dice.fork());
    lanes.push(lane);
    running.push(lane.run());
  };
  // Some branches are never served.
  simulation.onBranch = (branch) => {
    if (simulation.operationsLeft > 0 && dice.chance(0.8)) start(branch);
  };
  start(simulation.main);
  // More lanes may begin while the first are waited for.
  for (let ended = 0; ended < running.length; ended++) await running[ended];
  await world.sleep(dice.skewed(1, 2000));
  await finish(simulation, processes, lanes);
}

// The end of a run: with a good network a process opens every branch, reads everything, collects
// and closes. After that the store holds exactly what it must (residue.ts).

import { StorageError } from '../src/base/errors.ts';
import { LEASE_MS } from '../src/engine/format/lease.ts';
import { readersPrefix } from '../src/engine/format/names.ts';
import type { BranchModel } from './branch-model.ts';
import { closeInTime, type Lane, openOne, type Processes } from './lane.ts';
import type { SimProcess } from './process.ts';
import { sameState } from './reign.ts';
import { checkResidue } from './residue.ts';
import type { Simulation } from './simulation.ts';

const OPENINGS_MAX = 20;
/** Between attempts: requests of dead processes land meanwhile. */
const PAUSE_MS = 10_000;

export async function finish(
  simulation: Simulation,
  processes: Processes,
  lanes: readonly Lane[],
): Promise<void> {
  const { world, dice, store } = simulation;
  for (const { gate } of [...processes.all, ...processes.readers]) gate.thaw();
  await world.sleep(dice.skewed(1, 3000));
  store.network.faulty = false;
  for (const { current } of lanes) {
    if (current?.serving === true && dice.chance(0.5)) await closeInTime(current);
  }
  processes.killAll();
  // A claim of a dead process may still land and depose the last one.
  if (!store.isQuiet && dice.chance(0.5))
    await finishBranch(simulation, processes, simulation.main);
  while (!store.isQuiet) await world.sleep(PAUSE_MS);
  await finishDeletions(simulation, processes);
  const names = await simulation.inspector.branches();
  for (const branch of simulation.branches.values()) {
    if (names.has(branch.name)) await finishBranch(simulation, processes, branch);
  }
  await checkResidue(simulation);
}

/** Opens the branch, reads and collects it, and closes. */
async function finishBranch(
  simulation: Simulation,
  processes: Processes,
  branch: BranchModel,
): Promise<void> {
  await withProcess(simulation, processes, branch, async (process) => {
    await readAll(process);
    await process.database.collect(() => {});
    // Leases that dead readers left become void.
    if (hasLeases(simulation, branch)) await simulation.world.sleep(LEASE_MS + 1);
    await process.database.collect(() => {});
    await process.database.settled();
    if (!(await process.close())) return false;
    await checkClosed(process);
    return true;
  });
}

function hasLeases({ inspector }: Simulation, { id }: BranchModel): boolean {
  const prefix = readersPrefix(id!);
  return [...inspector.memory.objects.keys()].some((key) => key.startsWith(prefix));
}

/** What was cut short is done again. */
async function finishDeletions(simulation: Simulation, processes: Processes): Promise<void> {
  const { inspector } = simulation;
  const cutShort: BranchModel[] = [];
  for (const [name, id] of await inspector.branches()) {
    const branch = simulation.branches.get(name)!;
    if (!branch.mayBeGone || !(await inspector.head(id)).manifest.deleted) continue;
    cutShort.push(branch);
  }
  if (cutShort.length === 0) return;
  await withProcess(simulation, processes, simulation.main, async (process) => {
    for (const branch of cutShort) {
      await process.database.roots.deleteBranch(branch.name);
      branch.presence = 'gone';
    }
    return process.close();
  });
}

/** Until `work` has succeeded with one process. */
async function withProcess(
  simulation: Simulation,
  processes: Processes,
  branch: BranchModel,
  work: (process: SimProcess) => Promise<boolean>,
): Promise<void> {
  for (let attempt = 0; attempt < OPENINGS_MAX; attempt++) {
    const process = await openOne(processes, branch);
    if (process !== undefined) {
      try {
        if (await work(process)) return;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        process.judge(error, 'the last work');
      }
      process.kill();
    }
    await simulation.world.sleep(PAUSE_MS);
  }
  simulation.world.fail(`with a good network no process could finish branch ${branch.name}`);
}

/** Every byte, through the process's own caches, must be what it began with. */
async function readAll(process: SimProcess): Promise<void> {
  for (const volume of process.reign.volumes.values()) {
    const target = new Uint8Array(volume.usableBytes);
    await process.device(volume.name, volume.usableBytes).read(0, target);
    if (Buffer.compare(target, volume.bytes) === 0) continue;
    process.simulation.world.fail(
      `${process.name} reads other bytes of ${volume.name} than a reader`,
    );
  }
}

async function checkClosed(process: SimProcess): Promise<void> {
  const { branch, simulation, reign } = process;
  const found = await simulation.inspector.look(branch.name);
  if (!sameState(found, reign.base)) {
    simulation.world.fail(`branch ${branch.name} was changed by a close`);
  }
  await branch.checkRoots();
}

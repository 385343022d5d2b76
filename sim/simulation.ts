// What all parts of one run share.

import { readBranchIndex } from '../src/engine/branch-index.ts';
import { MAIN_BRANCH } from '../src/engine/db.ts';
import { BRANCH_INDEX_PREFIX, numberOf } from '../src/engine/format/names.ts';
import { BranchModel } from './branch-model.ts';
import { Dice } from './dice.ts';
import { FaultyStore, type StoreClient } from './faulty-store.ts';
import { branchOfKey, Inspector } from './inspector.ts';
import type { NewStores } from './new-stores.ts';
import { OperationSource } from './oracle.ts';
import { drawPlan, type Plan } from './plan.ts';
import type { Seat } from './seat.ts';
import { World } from './world.ts';

interface SimulationParts {
  readonly world: World;
  readonly dice: Dice;
  readonly plan: Plan;
  readonly store: FaultyStore;
  readonly inspector: Inspector;
}

export class Simulation {
  readonly world: World;
  readonly dice: Dice;
  readonly plan: Plan;
  readonly store: FaultyStore;
  readonly inspector: Inspector;
  readonly operations = new OperationSource();
  /** By name; names are used once. */
  readonly branches = new Map<string, BranchModel>();
  /** Told when a branch has got its name. */
  onBranch: (branch: BranchModel) => void = () => {};
  readonly counters = {
    snapshots: 0,
    snapshotLooks: 0,
    snapshotsDeleted: 0,
    branches: 0,
    branchesDeleted: 0,
    collections: 0,
    followers: 0,
    followerReads: 0,
    refusals: 0,
    takenUp: 0,
    journalFailures: 0,
    journalRestarts: 0,
    spoolFailures: 0,
    spooled: 0,
  };
  /** Where processes of runs with a journal run. */
  readonly seats = new Map<StoreClient, Seat>();
  /** Who put the manifests of each branch, in order. */
  readonly #manifests = new Map<string, StoreClient[]>();
  /** In the order in which they were put last. */
  readonly #puts = new Map<string, number>();
  #operationsLeft: number;
  #volumes = 0;
  #roots = 0;

  constructor(parts: SimulationParts) {
    this.world = parts.world;
    this.dice = parts.dice;
    this.plan = parts.plan;
    this.store = parts.store;
    this.inspector = parts.inspector;
    this.#operationsLeft = parts.plan.operations;
    const main = new BranchModel(this, MAIN_BRANCH, undefined);
    main.presence = 'there';
    this.branches.set(MAIN_BRANCH, main);
  }

  get main(): BranchModel {
    return this.branches.get(MAIN_BRANCH)!;
  }

  get operationsLeft(): number {
    return this.#operationsLeft;
  }

  takeOperation(): boolean {
    if (this.#operationsLeft === 0) return false;
    this.#operationsLeft -= 1;
    return true;
  }

  nextVolumeName(): string {
    return `v${++this.#volumes}`;
  }

  nextRootName(kind: 's' | 'b'): string {
    return `${kind}${++this.#roots}`;
  }

  onPut(by: StoreClient, key: string): void {
    this.#puts.set(key, this.world.tick());
    // Nothing is awaited but microtasks: it has ended before the next event.
    if (key.startsWith(BRANCH_INDEX_PREFIX)) void this.readIndex();
    if (!key.includes('/manifest/')) return;
    const id = branchOfKey(key)!;
    const seat = this.seats.get(by);
    const branch = [...this.branches.values()].find((one) => one.id === id);
    // As above.
    if (branch !== undefined) void branch.checkClaim(numberOf(key)!, seat);
    const puts = this.#manifests.get(id);
    if (puts === undefined) this.#manifests.set(id, [by]);
    else puts.push(by);
  }

  /** Another process has published a manifest of the branch since `by` did. */
  hasRival(by: StoreClient, { id }: BranchModel): boolean {
    const puts = this.#manifests.get(id ?? '') ?? [];
    const own = puts.indexOf(by);
    return own >= 0 && puts.slice(own).some((other) => other !== by);
  }

  /** What a process has logged. */
  note(event: string, fields: Readonly<Record<string, unknown>>): void {
    const { counters } = this;
    if (event === 'journal.replayed' && fields['records'] !== 0) counters.takenUp += 1;
    if (event === 'journal.failed') counters.journalFailures += 1;
    if (event === 'journal.restarted') counters.journalRestarts += 1;
    if (event === 'spool.failed') counters.spoolFailures += 1;
  }

  /** How many manifests others have put. */
  manifestsOfOthers(by: StoreClient, { id }: BranchModel): number {
    return (this.#manifests.get(id ?? '') ?? []).filter((other) => other !== by).length;
  }

  /** When an object was put: moments of the oracle. */
  putAt(key: string): number {
    return this.#puts.get(key) ?? 0;
  }

  /** Learns the ids of branches that have a name. */
  async readIndex(): Promise<void> {
    const { memory, root } = this.inspector;
    const { branches } = await readBranchIndex(memory, root.keyring, 'open');
    for (const [name, id] of branches) {
      const branch = this.branches.get(name);
      if (branch === undefined) this.world.fail(`an unknown branch ${name}`);
      else if (branch.id === undefined) {
        branch.id = id;
        this.onBranch(branch);
      } else if (branch.id !== id) this.world.fail(`branch ${name} has changed its id`);
    }
    for (const branch of this.branches.values()) {
      if (branch.presence === 'there' && !branches.has(branch.name)) {
        this.world.fail(`branch ${branch.name} is lost`);
      }
    }
  }
}

/** Everything up to the moment at which time begins. */
export async function createSimulation(
  seed: number,
  stores: NewStores,
  onTrace?: (line: string) => void,
): Promise<Simulation> {
  const world = new World(onTrace);
  const dice = new Dice(seed);
  const plan = drawPlan(dice);
  world.trace(`plan ${JSON.stringify(plan)}`);
  const store = new FaultyStore(world, dice.fork(), plan.faults, (by, key) => {
    simulation.onPut(by, key);
  });
  const { objects, root } = await stores.get(plan.cipher, plan.compression);
  for (const [key, bytes] of objects) store.memory.objects.set(key, bytes);
  const inspector = new Inspector(world, store.memory, root, dice.fork().rng);
  const simulation = new Simulation({ world, dice, plan, store, inspector });
  await simulation.readIndex();
  return simulation;
}

// Who administers one simulated process: makes and deletes snapshots and branches, restores,
// collects, one after another, beside the clients.
//
// A request whose reply is lost leaves it unsure whether something is there: then either answer is
// right the next time. What is certain must stay so (branch-model.ts).

import { isStorageError, type StorageErrorKind } from '../src/base/errors.ts';
import { BranchModel, type Origin, SnapshotModel } from './branch-model.ts';
import type { Dice } from './dice.ts';
import type { SimProcess } from './process.ts';

const SNAPSHOTS_MAX = 4;
const BRANCHES_MAX = 3;
const TRIES_MAX = 3;
const RETRY_MS = 200;

export async function runAdmin(process: SimProcess, dice: Dice): Promise<void> {
  const { simulation } = process;
  const admin = new Admin(process, dice);
  for (;;) {
    await process.clock.sleep(dice.skewed(1, simulation.plan.adminMsMax));
    if (!process.serving || !simulation.takeOperation()) return;
    await admin.step();
  }
}

class Admin {
  readonly #process: SimProcess;
  readonly #dice: Dice;

  constructor(process: SimProcess, dice: Dice) {
    this.#process = process;
    this.#dice = dice;
  }

  get #branch(): BranchModel {
    return this.#process.branch;
  }

  async step(): Promise<void> {
    const dice = this.#dice;
    const snapshots = [...this.#branch.snapshots.values()];
    const there = snapshots.filter((one) => one.presence !== 'gone');
    const sound = there.filter((one) => one.presence === 'there' && one.content !== undefined);
    const draw = dice.rng.float();
    if (draw < 0.3) {
      if (there.length < SNAPSHOTS_MAX) return this.#createSnapshot();
      return this.#deleteSnapshot(dice.pick(there));
    }
    if (draw < 0.45) return there.length > 0 ? this.#deleteSnapshot(dice.pick(there)) : undefined;
    if (draw < 0.6) return this.#createBranch(dice.chance(0.5) ? sound : []);
    if (draw < 0.72) return this.#deleteBranch();
    if (draw < 0.82) return sound.length > 0 ? this.#restore(dice.pick(sound)) : undefined;
    if (draw < 0.86) return this.#list();
    if (draw < 0.92) return this.#flush();
    return this.#collect();
  }

  async #createSnapshot(): Promise<void> {
    const { simulation } = this.#process;
    const name = simulation.nextRootName('s');
    const origin = this.#origin();
    const snapshot = new SnapshotModel(name, origin);
    this.#branch.snapshots.set(name, snapshot);
    const work = (): Promise<unknown> => this.#process.database.roots.createSnapshot(name);
    if (!(await this.#persist(`creates snapshot ${name}`, work, [], ['exists']))) return;
    this.#madeDurable(origin);
    if (snapshot.neverWas) simulation.world.fail(`snapshot ${name} was made, and is not there`);
    simulation.counters.snapshots += 1;
    if (snapshot.presence === 'unsure') snapshot.presence = 'there';
    await this.#branch.checkRoots();
  }

  async #deleteSnapshot(snapshot: SnapshotModel): Promise<void> {
    const { name, presence, children } = snapshot;
    const { oracle } = this.#branch;
    const called = this.#process.simulation.world.tick();
    const { reign } = this.#process;
    const mayBeStoodOn = children.some((child) => child.presence !== 'gone');
    const isStoodOn = children.some((child) => child.presence === 'there' && !child.isDoomed);
    const refusals: StorageErrorKind[] = [];
    if (mayBeStoodOn) refusals.push('invalid');
    if (presence === 'unsure') refusals.push('notFound');
    if (presence === 'there') snapshot.presence = 'unsure';
    const work = (): Promise<void> => this.#process.database.roots.deleteSnapshot(name);
    const done = await this.#persist(`deletes snapshot ${name}`, work, refusals, ['notFound']);
    if (!done) return;
    oracle.madeDurable(reign, called);
    const { world, counters } = this.#process.simulation;
    if (isStoodOn && children.some((one) => one.presence === 'there' && !one.isDoomed)) {
      world.fail(`snapshot ${name} was deleted, though a branch stands on it`);
    }
    counters.snapshotsDeleted += 1;
    snapshot.presence = 'gone';
  }

  async #createBranch(sound: readonly SnapshotModel[]): Promise<void> {
    const { simulation, database } = this.#process;
    const living = [...simulation.branches.values()].filter((one) => one.presence !== 'gone');
    if (living.length >= BRANCHES_MAX) return;
    const from = sound.length > 0 ? this.#dice.pick(sound) : undefined;
    const name = simulation.nextRootName('b');
    const origin = this.#origin();
    const child = new BranchModel(simulation, name, from ?? origin);
    simulation.branches.set(name, child);
    this.#branch.children.push(child);
    from?.children.push(child);
    const work = (): Promise<unknown> => database.roots.createBranch(name, from?.name);
    const what = `creates branch ${name} from ${from?.name ?? 'now'}`;
    if (!(await this.#persist(what, work, [], ['exists']))) return;
    if (from === undefined) this.#madeDurable(origin);
    else this.#branch.oracle.madeDurable(origin.reign, origin.called);
    simulation.counters.branches += 1;
    if (child.presence === 'unsure' && !child.isDoomed) child.presence = 'there';
    await simulation.readIndex();
    await this.#branch.checkRoots();
  }

  async #deleteBranch(): Promise<void> {
    const { simulation, database } = this.#process;
    const others = [...simulation.branches.values()].filter((one) => {
      return one.parent !== undefined && one !== this.#branch && one.id !== undefined;
    });
    const living = others.filter((one) => one.presence !== 'gone');
    if (living.length === 0) return;
    const branch = this.#dice.pick(living);
    const isStoodOn = branch.children.some((one) => one.presence === 'there' && !one.isDoomed);
    // Another one may be at it, or have been.
    const isFirst = !branch.isDoomed;
    const deleters = (branch.deleters += 1);
    branch.presence = 'unsure';
    const refusals: StorageErrorKind[] = isFirst ? [] : ['notFound', 'exists'];
    if (branch.children.some((one) => one.presence !== 'gone')) refusals.push('invalid');
    const work = async (): Promise<void> => {
      try {
        await database.roots.deleteBranch(branch.name);
      } catch (error) {
        // One may have been created while this was under way.
        const isNeeded = branch.children.some((one) => one.presence !== 'gone');
        if (isNeeded && isStorageError(error, 'invalid')) refusals.push('invalid');
        // Who began later may have been faster.
        if (branch.deleters > deleters) refusals.push('notFound', 'exists');
        const lost = isStorageError(error, 'fenced') || isStorageError(error, 'exists');
        if (!lost || !simulation.hasRival(this.#process, branch)) throw error;
        this.#process.trace(`is overtaken on ${branch.name}`);
        refusals.push(error.kind);
        throw error;
      }
    };
    const done = await this.#persist(`deletes branch ${branch.name}`, work, refusals, ['notFound']);
    if (!done) return;
    simulation.counters.branchesDeleted += 1;
    branch.oracle.depose();
    branch.oracle.abandoned(Infinity);
    branch.presence = 'gone';
    if (isStoodOn && branch.children.some((one) => one.presence === 'there' && !one.isDoomed)) {
      simulation.world.fail(`branch ${branch.name} was deleted, though others stand on it`);
    }
    await simulation.readIndex();
  }

  async #restore(snapshot: SnapshotModel): Promise<void> {
    this.#process.trace(`restores ${snapshot.name}`);
    await this.#process.restore(snapshot);
  }

  /** The store has everything, whatever barriers wait for. */
  async #flush(): Promise<void> {
    const { reign, called } = this.#origin();
    const work = async (): Promise<void> => this.#process.database.storeBarrier();
    const done = await this.#persist('flushes', work, []);
    if (done) this.#branch.oracle.acknowledge(reign, called, 'store');
  }

  async #list(): Promise<void> {
    const { roots } = this.#process.database;
    await this.#persist('lists snapshots', () => roots.listSnapshots(), []);
    await this.#persist('lists branches', () => roots.listBranches(), []);
  }

  async #collect(): Promise<void> {
    this.#process.simulation.counters.collections += 1;
    await this.#persist('collects', () => this.#process.database.collect(() => {}), []);
  }

  #origin(): Origin {
    const { branch, reign, simulation } = this.#process;
    return { branch, reign, called: simulation.world.tick() };
  }

  /** What began at the origin's moment has made everything before it durable. */
  #madeDurable({ reign, called }: Origin): void {
    this.#branch.oracle.madeDurable(reign, called);
    this.#branch.oracle.acknowledge(reign, called, 'store');
  }

  /**
   * Does `work` until it succeeds, is refused, or was tried often enough. `refusals` are right at
   * any time, `later` ones only after an attempt whose outcome is not known.
   */
  async #persist(
    what: string,
    work: () => Promise<unknown>,
    refusals: readonly StorageErrorKind[],
    later: readonly StorageErrorKind[] = refusals,
  ): Promise<boolean> {
    const process = this.#process;
    process.trace(what);
    for (let attempt = 1; attempt <= TRIES_MAX && process.serving; attempt++) {
      try {
        await work();
        process.trace(`${what}: done`);
        return true;
      } catch (error) {
        const allowed = attempt === 1 ? [...refusals] : [...refusals, ...later];
        // Others act on what this one knows no more of.
        if (process.hasRival) allowed.push('notFound', 'exists', 'invalid');
        // Whoever deletes the branch gives up the children that it is just getting.
        if (this.#branch.isDoomed) allowed.push('aborted');
        if (isStorageError(error) && allowed.includes(error.kind)) {
          process.trace(`${what}: refused, ${error.kind}`);
          return false;
        }
        if (process.judge(error, what) === 'over') process.retire();
      }
      await process.clock.sleep(RETRY_MS);
    }
    return false;
  }
}

// What one branch of the simulated store must be: its oracle, its snapshots, where it came from.
//
// Whether something is there is `unsure` from the call that changes it until the call succeeds, or
// a later writer's opening shows the truth: requests of a killed process may land until then.

import { asReturned, explain } from './explain.ts';
import type { Cut } from './history.ts';
import { Oracle } from './oracle.ts';
import { type Found, type Reign, sameState } from './reign.ts';
import { type Seat, Seats } from './seat.ts';
import type { Simulation } from './simulation.ts';

export type Presence = 'there' | 'gone' | 'unsure';

/** A state as it was at some moment since `called`. */
export interface Origin {
  readonly branch: BranchModel;
  readonly reign: Reign;
  readonly called: number;
}

export class SnapshotModel {
  readonly name: string;
  readonly origin: Origin;
  presence: Presence = 'unsure';
  /** A later writer did not find it. */
  neverWas = false;
  /** What it held when it was first looked at, and must hold for ever. */
  content: Found | undefined;
  /** Branches may stand on it. */
  readonly children: BranchModel[] = [];

  constructor(name: string, origin: Origin) {
    this.name = name;
    this.origin = origin;
  }
}

export class BranchModel {
  readonly name: string;
  readonly parent: BranchModel | undefined;
  readonly simulation: Simulation;
  readonly oracle: Oracle;
  readonly snapshots = new Map<string, SnapshotModel>();
  readonly children: BranchModel[] = [];
  /** In runs with a journal. */
  readonly seats: Seats | undefined;
  /** Undefined for the first branch of the store, which began empty. */
  readonly source: SnapshotModel | Origin | undefined;
  /** As the index of branches says it. */
  id: string | undefined;
  presence: Presence = 'unsure';
  /** How many have begun to delete it. */
  deleters = 0;
  /** What its first writer found. */
  #first: Found | undefined;

  constructor(simulation: Simulation, name: string, source: BranchModel['source']) {
    this.simulation = simulation;
    this.name = name;
    this.source = source;
    const origin = source instanceof SnapshotModel ? source.origin : source;
    this.parent = origin?.branch;
    this.oracle = new Oracle(simulation.world, simulation.operations, (found) =>
      this.checkFirst(found),
    );
    const { journal } = simulation.plan;
    this.seats = journal === undefined ? undefined : new Seats(this, simulation.dice.fork());
  }

  get isDoomed(): boolean {
    return this.deleters > 0;
  }

  /** Deleted, or given up before whoever created it was told that it is there. */
  get mayBeGone(): boolean {
    return this.isDoomed || this.presence !== 'there';
  }

  /** What is wrong with the state that the branch is found to begin with. */
  checkFirst(found: Found): string | undefined {
    const { source, name } = this;
    if (source === undefined) return found.size > 0 ? 'a new store is not empty' : undefined;
    const known = this.#first ?? (source instanceof SnapshotModel ? source.content : undefined);
    this.#first = found;
    if (known !== undefined) {
      return sameState(known, found) ? undefined : `branch ${name} is not what it was made from`;
    }
    const origin = source instanceof SnapshotModel ? source.origin : source;
    return explainOrigin(origin, found, `what branch ${name} was made from`);
  }

  /** A manifest has landed: who claims the branch has its journal, or abandons it. */
  async checkClaim(number: number, seat: Seat | undefined): Promise<void> {
    const { inspector, world } = this.simulation;
    const { manifest, number: highest } = await inspector.head(this.id!);
    const before = await inspector
      .chain(this.id!)
      .loadNumber(number - 1, 'open')
      .catch(() => undefined);
    if (highest !== number || before === undefined || before.epoch >= manifest.epoch) return;
    if (manifest.deleted) return;
    // Whoever deletes a branch claims it first.
    const isOther = seat !== undefined && seat.machine.branch !== this;
    if (isOther || seat?.journal.abandon === true) {
      this.oracle.abandoned(manifest.epoch);
    } else if (before.journal !== undefined) {
      const { host, id } = before.journal;
      if (host === seat?.machine.name && manifest.journal?.id === id) return;
      world.fail(`a claim of branch ${this.name} passes over the journal on ${host}`);
    }
  }

  /** After a close any process may write the branch. */
  async checkClosed(who: string): Promise<void> {
    const { inspector, world } = this.simulation;
    const { manifest } = await inspector.head(this.id!);
    if (manifest.journal === undefined || manifest.deleted) return;
    world.fail(`${who} has closed, and the branch still names a journal`);
  }

  /** Whether the opening of a process there may be refused, though nobody came in its way. */
  async mayRefuse({ machine, journal }: Seat): Promise<boolean> {
    const { manifest } = await this.simulation.inspector.head(this.id!);
    if (journal.abandon) return false;
    const { host } = manifest.journal ?? {};
    if (host !== undefined && host !== machine.name) return true;
    return machine.troubled || this.oracle.mayRefuse(machine.name, machine.forgetful);
  }

  /** Snapshots that must be there are; they, and what children stand on, hold what they held. */
  async checkRoots(): Promise<void> {
    const { inspector, world } = this.simulation;
    const { manifest } = await inspector.head(this.id!);
    // Deleted since: who made a snapshot before that may hear of it only now.
    if (manifest.deleted) return;
    const entries = new Map(manifest.snapshots.map((entry) => [entry.name, entry]));
    for (const name of entries.keys()) {
      if (!this.snapshots.has(name)) world.fail(`an unknown snapshot ${name}`);
    }
    for (const snapshot of this.snapshots.values()) {
      const { name, presence, origin } = snapshot;
      const entry = entries.get(name);
      if (presence === 'gone' && entry !== undefined) world.fail(`snapshot ${name} has come back`);
      if (presence === 'there' && entry === undefined) world.fail(`snapshot ${name} is lost`);
      if (entry === undefined) continue;
      const found = await inspector.lookAt(this.name, this.id!, entry.manifest);
      this.simulation.counters.snapshotLooks += 1;
      if (snapshot.content === undefined) {
        const complaint = explainOrigin(origin, found, `snapshot ${name}`);
        if (complaint !== undefined) world.fail(complaint);
        snapshot.content = found;
      } else if (!sameState(snapshot.content, found)) {
        world.fail(`snapshot ${name} of branch ${this.name} has changed`);
      }
    }
    for (const point of manifest.points) {
      const child = this.children.find((one) => one.id === point.branch);
      if (child === undefined) continue;
      const found = await inspector.lookAt(this.name, this.id!, point.manifest);
      const complaint = child.checkFirst(found);
      if (complaint !== undefined) world.fail(complaint);
    }
  }

  /** A writer has opened and none before it can change the manifest: what was unsure is settled. */
  async settleSnapshots(): Promise<void> {
    const { manifest } = await this.simulation.inspector.head(this.id!);
    const names = new Set(manifest.snapshots.map((entry) => entry.name));
    for (const snapshot of this.snapshots.values()) {
      if (snapshot.presence !== 'unsure') continue;
      const isThere = names.has(snapshot.name);
      snapshot.presence = isThere ? 'there' : 'gone';
      snapshot.neverWas = !isThere;
    }
  }
}

function explainOrigin({ reign, called }: Origin, found: Found, what: string): string | undefined {
  const cut: Cut = { from: called, to: Infinity };
  return explain(reign, found, cut, `${what}, made by ${reign.who}`, asReturned);
}

// The machines that may serve a branch, each with a local disk for its journal.
//
// A machine outlives its processes; one at a time serves the branch there. A process that is killed
// leaves on the disk what it wrote; when the power goes what was not synced is left or not, sector
// by sector. A machine whose disk is lost is replaced by another one, with another name.
//
// The disk takes its time, stalls, and has times of trouble: it is full, or fails to write, to sync
// or to make files.

import { StorageError } from '../src/base/errors.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import {
  type JournalOperation,
  MemoryJournalDisk,
} from '../src/engine/journal/memory-journal-disk.ts';
import {
  findJournals,
  type FoundJournal,
  removeSlots,
} from '../src/engine/journal/read-journal.ts';
import type { BranchModel } from './branch-model.ts';
import type { Dice } from './dice.ts';
import type { DiskProfile } from './plan.ts';
import type { SimProcess } from './process.ts';
import type { Gate } from './world.ts';

export const JOURNAL_DIRECTORY = 'journal';
const STALL_RATE = 0.01;

const TROUBLES: Readonly<Record<string, readonly JournalOperation[]>> = {
  full: ['write', 'append', 'open'],
  'fails to write': ['write', 'append'],
  'fails to sync': ['sync'],
};

interface Trouble {
  readonly fromMs: number;
  readonly toMs: number;
  readonly what: string;
  readonly share: number;
}

export class Machine {
  readonly name: string;
  readonly branch: BranchModel;
  disk = new MemoryJournalDisk();
  /** Its disk has failed at least once. */
  troubled = false;
  /**
   * Unsynced marks of what the store has may be forgotten: a journal that held nothing does again.
   */
  forgetful = false;
  occupant: SimProcess | undefined;
  readonly #dice: Dice;
  readonly #profile: DiskProfile;
  #trouble: Trouble | undefined;
  /** Steps of the disk until its process ends, at a moment that no clock would hit. */
  #stepsLeft = Infinity;

  constructor(branch: BranchModel, name: string, dice: Dice, profile: DiskProfile) {
    this.branch = branch;
    this.name = name;
    this.#dice = dice;
    this.#profile = profile;
  }

  get directory(): string {
    return `${JOURNAL_DIRECTORY}/${this.branch.id!}`;
  }

  /** A process begins here. Whoever was here is killed. */
  occupy(process: SimProcess): void {
    const { occupant } = this;
    if (occupant !== undefined) {
      if (this.#dice.chance(0.5)) this.cutPower();
      else occupant.kill();
    }
    this.occupant = process;
    this.#stepsLeft = Infinity;
    this.#connect(process.gate);
  }

  /** Its process ends when the disk has done so much more. */
  doom(steps: number): void {
    this.#stepsLeft = steps;
  }

  #step(): void {
    this.#stepsLeft -= 1;
    const { occupant } = this;
    if (this.#stepsLeft !== 0 || occupant === undefined) return;
    // What runs in this turn has happened.
    this.branch.simulation.world.after(0, () => {
      if (this.occupant !== occupant) return;
      if (this.#dice.chance(0.7)) this.cutPower();
      else occupant.kill();
    });
  }

  /** Its process was killed. */
  vacate(): void {
    this.occupant = undefined;
    this.disk = this.disk.reopen();
  }

  cutPower(): void {
    const { world } = this.branch.simulation;
    this.occupant?.kill();
    world.trace(`${this.name} loses power`);
    this.forgetful = true;
    this.disk = this.disk.crash(this.#dice.rng);
  }

  /**
   * Somebody deletes journals that are not `named` and hold something. Of one that holds nothing
   * the manifest that names it may be on its way.
   */
  async discard(named: string | undefined): Promise<void> {
    const names = new Set<string>();
    for (const journal of await this.#journals()) {
      const { lastSequence, stored } = await journal.summary();
      if (journal.id === named || lastSequence <= stored) continue;
      for (const name of journal.names) names.add(name);
    }
    if (names.size === 0) return;
    this.branch.simulation.world.trace(`${this.name} discards ${[...names].join(' ')}`);
    await removeSlots(this.disk, this.directory, (name) => names.has(name));
  }

  /** What a look at the disk finds. No time passes. */
  #journals(): Promise<readonly FoundJournal[]> {
    const { id, simulation } = this.branch;
    const { keyring } = simulation.inspector.root;
    const components = { disk: this.disk, keyring, sealer: createInlineSealer() };
    return findJournals(components, this.directory, id!);
  }

  #connect(gate: Gate): void {
    const { world, counters } = this.branch.simulation;
    const { disk } = this;
    const dice = this.#dice;
    const { latencyMsMax, stallMsMax } = this.#profile;
    disk.gate = () =>
      new Promise((resolve) => {
        this.#step();
        const stallMs = dice.chance(STALL_RATE) ? dice.skewed(1, stallMsMax) : 0;
        world.after(dice.skewed(0, latencyMsMax) + stallMs, () => gate.deliver(resolve));
      });
    disk.failing = (operation, name) => {
      if (operation === 'open' && name.endsWith('.spool')) counters.spooled += 1;
      const trouble = this.#current();
      if (trouble === undefined || !TROUBLES[trouble.what]!.includes(operation)) return undefined;
      if (!dice.chance(trouble.share)) return undefined;
      this.troubled = true;
      const kind = trouble.what === 'full' ? 'noSpace' : 'unavailable';
      world.trace(`${this.name} ${trouble.what}: ${operation} of ${name}`);
      return new StorageError(kind, `simulated fault: the disk ${trouble.what}`);
    };
  }

  #current(): Trouble | undefined {
    const { world, store } = this.branch.simulation;
    if (this.#profile.troubleEveryMs === 0 || !store.network.faulty) return undefined;
    const { nowMs } = world;
    if (this.#trouble === undefined || nowMs >= this.#trouble.toMs) {
      const dice = this.#dice;
      const fromMs = nowMs + dice.int(1, this.#profile.troubleEveryMs * 2);
      const toMs = fromMs + dice.skewed(1, this.#profile.troubleMsMax);
      const what = dice.pick(Object.keys(TROUBLES));
      this.#trouble = { fromMs, toMs, what, share: dice.pick([0.1, 0.5, 1]) };
    }
    return nowMs >= this.#trouble.fromMs ? this.#trouble : undefined;
  }
}

// Where and how the next process of a branch starts: on which machine, with which tier, and whether
// it goes on without the journal that the branch names.

import type { JournalOptions } from '../src/engine/db.ts';
import type { BranchModel } from './branch-model.ts';
import type { Dice } from './dice.ts';
import { JOURNAL_DIRECTORY, Machine } from './machine.ts';
import type { SimProcess } from './process.ts';

/** How often one that has not got the journal goes on without it. */
const ABANDON_RATE = 0.25;
const ELSEWHERE_RATE = 0.6;
const LOST_RATE = 0.6;

export interface Seat {
  readonly machine: Machine;
  readonly journal: JournalOptions;
}

/**
 * `surely`: one that must be let in. `elsewhere`: whoever serves is cut off, and its machine, too.
 */
export type Start = 'surely' | 'anywhere' | 'elsewhere';

/** Of a run in which the journal tier is used. */
export class Seats {
  readonly #branch: BranchModel;
  readonly #dice: Dice;
  readonly #machines: Machine[] = [];
  #serial = 0;
  /** One starts at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(branch: BranchModel, dice: Dice) {
    this.#branch = branch;
    this.#dice = dice;
    const count = dice.pick([1, 2, 3, 3]);
    for (let i = 0; i < count; i++) this.#machines.push(this.#newMachine());
  }

  #newMachine(): Machine {
    const { name, simulation } = this.#branch;
    const { disk } = simulation.plan.journal!;
    return new Machine(this.#branch, `${name}m${++this.#serial}`, this.#dice.fork(), disk);
  }

  /** The journal that the branch names, and the machine that has it, unless that is lost. */
  async #holder(): Promise<{ readonly id: string | undefined; readonly machine?: Machine }> {
    const { manifest } = await this.#branch.simulation.inspector.head(this.#branch.id!);
    const machine = this.#machines.find(({ name }) => name === manifest.journal?.host);
    return { id: manifest.journal?.id, ...(machine === undefined ? {} : { machine }) };
  }

  start(how: Start, begin: (seat: Seat) => SimProcess): Promise<SimProcess> {
    const starting = this.#last.then(async () => {
      const seat = await this.#next(how);
      const process = begin(seat);
      seat.machine.occupy(process);
      return process;
    });
    this.#last = starting;
    return starting;
  }

  async #next(how: Start): Promise<Seat> {
    const dice = this.#dice;
    const holder = await this.#holder();
    const isLost = holder.id !== undefined && holder.machine === undefined;
    if (how === 'surely') {
      const machine = holder.machine ?? dice.pick(this.#machines);
      machine.occupant?.kill();
      await this.#discard(machine, holder.id);
      return { machine, journal: this.#options(machine.name, isLost, dice.chance(0.7)) };
    }
    const others = this.#machines.filter((one) => one !== holder.machine);
    const isElsewhere = how === 'elsewhere' && others.length > 0;
    const machine = isElsewhere
      ? dice.pick(others)
      : holder.machine !== undefined && dice.chance(0.75)
        ? holder.machine
        : dice.pick(this.#machines);
    const free = machine.occupant === undefined;
    if (free && dice.chance(0.02)) return this.#replace(machine);
    if (free && dice.chance(0.3)) await this.#discard(machine, holder.id);
    const isNeeded = holder.id !== undefined && machine !== holder.machine;
    const rate = isElsewhere ? ELSEWHERE_RATE : ABANDON_RATE;
    const abandon = dice.chance(isLost ? LOST_RATE : isNeeded ? rate : 0.03);
    return { machine, journal: this.#options(machine.name, abandon, dice.chance(0.85)) };
  }

  /** What only the journals there have is given up. */
  async #discard(machine: Machine, named: string | undefined): Promise<void> {
    await machine.discard(named);
    this.#branch.oracle.journalsLost(machine.name, false);
  }

  /** The disk is gone. */
  #replace(machine: Machine): Seat {
    const { simulation, oracle } = this.#branch;
    const next = this.#newMachine();
    simulation.world.trace(`${machine.name} is lost, ${next.name} is put in its place`);
    this.#machines[this.#machines.indexOf(machine)] = next;
    oracle.journalsLost(machine.name, true);
    return { machine: next, journal: this.#options(next.name, this.#dice.chance(0.5), true) };
  }

  #options(host: string, abandon: boolean, used: boolean): JournalOptions {
    const dice = this.#dice;
    const { bytesMax, secondsMax, onFailure } = this.#branch.simulation.plan.journal!;
    return {
      directory: JOURNAL_DIRECTORY,
      used,
      abandon,
      bytesMax: dice.pick(bytesMax),
      secondsMax: dice.pick(secondsMax),
      onFailure: dice.pick(onFailure),
      host,
    };
  }
}

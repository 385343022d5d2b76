// What happens to the processes of one branch: they are started, killed, closed, taken over while
// they live, frozen and woken, until the clients of the run have used up their operations or the
// branch was deleted.

import type { BranchModel } from './branch-model.ts';
import type { Dice } from './dice.ts';
import { SimProcess } from './process.ts';
import { SimReader } from './reader.ts';
import type { Seat, Start } from './seat.ts';

/** Openings in a row that may fail for the store's sake before the run counts as stuck. */
const OPENINGS_MAX = 100;
/** A close waits for the store; past this it is cut short. */
const CLOSE_PATIENCE_MS = 20_000;
/** Steps of a disk until its machine fails, or an end for a process that asks nothing of it. */
const STEPS_MAX = 80;
const DOOM_MS_MAX = 3000;
const FOLLOW_RATE = 0.08;
const READERS_MAX = 3;
/** A sleeper misses several reigns. */
const SLEEP_MS_MAX = 200_000;

/** All processes of a run, in the order in which they began. */
export class Processes {
  readonly all: SimProcess[] = [];
  readonly readers: SimReader[] = [];

  async create(branch: BranchModel, how: Start): Promise<SimProcess> {
    const begin = (seat: Seat | undefined): SimProcess => {
      const process = new SimProcess(branch, this.all.length + 1, seat);
      this.all.push(process);
      return process;
    };
    return branch.seats?.start(how, begin) ?? begin(undefined);
  }

  /** Starts one that follows the branch. */
  follow(branch: BranchModel, dice: Dice): void {
    const reader = new SimReader(branch, this.readers.length + 1, dice);
    this.readers.push(reader);
    branch.simulation.counters.followers += 1;
    void reader.run();
  }

  killAll(): void {
    for (const reader of this.readers) reader.kill();
    for (const process of this.all) process.kill();
  }
}

/** Closes, or cuts it short. */
export async function closeInTime(process: SimProcess): Promise<void> {
  const { world } = process.simulation;
  const cancel = world.after(CLOSE_PATIENCE_MS, () => process.kill());
  await Promise.race([process.close(), process.ended]);
  cancel();
}

/** Opens a new process; undefined when it ended before it served. */
export async function openOne(
  processes: Processes,
  branch: BranchModel,
): Promise<SimProcess | undefined> {
  const process = await processes.create(branch, 'surely');
  const isOpen = await Promise.race([process.open(), process.ended.then(() => false)]);
  return isOpen ? process : undefined;
}

export class Lane {
  readonly branch: BranchModel;
  readonly #processes: Processes;
  readonly #dice: Dice;
  /** The one that serves, or served last. */
  current: SimProcess | undefined;

  constructor(branch: BranchModel, processes: Processes, dice: Dice) {
    this.branch = branch;
    this.#processes = processes;
    this.#dice = dice;
  }

  async run(): Promise<void> {
    const { simulation } = this.branch;
    this.current = await this.#start();
    while (simulation.operationsLeft > 0 && this.current !== undefined) {
      await simulation.world.sleep(this.#dice.skewed(1, simulation.plan.calmMsMax));
      this.current = await this.#turn(this.current);
    }
  }

  /** One event; gives the process that serves after it, if the branch still is. */
  async #turn(current: SimProcess): Promise<SimProcess | undefined> {
    const { world } = this.branch.simulation;
    const dice = this.#dice;
    const { readers } = this.#processes;
    if (dice.chance(FOLLOW_RATE) && readers.length < READERS_MAX) {
      this.#processes.follow(this.branch, dice.fork());
    }
    if (!current.serving) {
      if (dice.chance(0.5)) this.#killLater(current);
      return this.#start();
    }
    const draw = dice.rng.float();
    if (draw < 0.35) {
      await this.#end(current);
      if (dice.chance(0.3)) await world.sleep(dice.skewed(1, 5000));
      return this.#start();
    }
    if (draw < 0.5) {
      await closeInTime(current);
      return this.#start();
    }
    if (draw < 0.7) {
      // A takeover while the first lives. It learns of it, or is killed some time.
      const next = await this.#start('elsewhere');
      if (dice.chance(0.5)) this.#killLater(current);
      return next;
    }
    if (draw < 0.9) {
      current.gate.freeze();
      if (dice.chance(0.5)) await world.sleep(dice.skewed(1, 2000));
      const isLong = dice.chance(0.3);
      world.after(dice.skewed(1, isLong ? SLEEP_MS_MAX : 20_000), () => current.gate.thaw());
      const next = await this.#start('elsewhere');
      if (!isLong && dice.chance(0.3)) current.gate.thaw();
      return next;
    }
    return current;
  }

  /** Kills it, or lets its machine fail, now or in the midst of what it does with its disk. */
  async #end(current: SimProcess): Promise<void> {
    const { machine } = current.seat ?? {};
    const dice = this.#dice;
    if (machine !== undefined && dice.chance(0.6)) {
      machine.doom(dice.skewed(1, STEPS_MAX));
      const { world } = this.branch.simulation;
      await Promise.race([current.ended, world.sleep(DOOM_MS_MAX)]);
    }
    if (machine !== undefined && dice.chance(0.5)) machine.cutPower();
    current.kill();
  }

  #killLater(process: SimProcess): void {
    const { seat } = process;
    if (seat !== undefined && this.#dice.chance(0.7)) {
      seat.machine.doom(this.#dice.skewed(1, STEPS_MAX));
    }

    this.branch.simulation.world.after(this.#dice.skewed(1, 5000), () => process.kill());
  }

  /** Starts processes until one serves; sometimes two at once. Undefined for a deleted branch. */
  async #start(how: Start = 'anywhere'): Promise<SimProcess | undefined> {
    const dice = this.#dice;
    for (let attempt = 0; attempt < OPENINGS_MAX; attempt++) {
      if (await this.#isOver()) return undefined;
      if (dice.chance(0.1)) void this.#open(true, 'anywhere');
      const process = await this.#open(
        dice.chance(this.branch.seats === undefined ? 0.15 : 0.35),
        how,
      );
      if (process !== undefined) return process;
      // As whoever restarts a server does: at once, then less and less eagerly.
      await this.branch.simulation.world.sleep(dice.skewed(0, attempt * 500));
    }
    if (await this.#isOver()) return undefined;
    throw new Error(`${OPENINGS_MAX} processes in a row could not open`);
  }

  async #isOver(): Promise<boolean> {
    const { mayBeGone, name, id, simulation } = this.branch;
    if (!mayBeGone) return false;
    const branches = await simulation.inspector.branches();
    if (!branches.has(name)) return true;
    return (await simulation.inspector.head(id!)).manifest.deleted;
  }

  /** Undefined when it ended before it served. */
  async #open(isDoomed: boolean, how: Start): Promise<SimProcess | undefined> {
    const process = await this.#processes.create(this.branch, how);
    if (isDoomed) this.#killLater(process);
    const isOpen = await Promise.race([process.open(), process.ended.then(() => false)]);
    if (!isOpen) return undefined;
    process.startClients(this.#dice.int(1, this.branch.simulation.plan.clientsMax));
    return process;
  }
}

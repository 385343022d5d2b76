// What happens to the processes of one run: they are started, killed, closed, taken over while they
// live, frozen and woken, until the clients have used up their operations. Then the network is
// good, a last process opens, reads everything, and closes.

import type { NewStores } from './new-stores.ts';
import { SimProcess } from './process.ts';
import { createSimulation, type Simulation } from './simulation.ts';

/** Openings in a row that may fail for the store's sake before the run counts as stuck. */
const OPENINGS_MAX = 100;
const FINAL_OPENINGS_MAX = 20;
/** A close waits for the store; past this it is cut short. */
const CLOSE_PATIENCE_MS = 20_000;

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
  const scenario = new Scenario(simulation);
  const onUnhandled = (error: unknown): void => {
    world.fail(`a promise was left alone with its failure: ${String(error)}`, error);
  };
  process.on('unhandledRejection', onUnhandled);
  try {
    await world.run(() => scenario.run());
  } finally {
    process.off('unhandledRejection', onUnhandled);
    scenario.killAll();
  }
  const counters = { ...simulation.oracle.counters, objects: simulation.store.memory.objects.size };
  return { seed, traceHash: world.traceHash, virtualMs: world.nowMs, counters };
}

class Scenario {
  readonly #simulation: Simulation;
  readonly #processes: SimProcess[] = [];

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  async run(): Promise<void> {
    const { world, dice, plan } = this.#simulation;
    let current = await this.#start();
    while (this.#simulation.operationsLeft > 0) {
      await world.sleep(dice.skewed(1, plan.calmMsMax));
      current = await this.#turn(current);
    }
    await world.sleep(dice.skewed(1, 2000));
    await this.#finish(current);
  }

  killAll(): void {
    for (const process of this.#processes) process.kill();
  }

  /** One event; gives the process that serves after it. */
  async #turn(current: SimProcess): Promise<SimProcess> {
    const { world, dice } = this.#simulation;
    if (!current.serving) {
      if (dice.chance(0.5)) this.#killLater(current);
      return this.#start();
    }
    const draw = dice.rng.float();
    if (draw < 0.35) {
      current.kill();
      if (dice.chance(0.3)) await world.sleep(dice.skewed(1, 5000));
      return this.#start();
    }
    if (draw < 0.5) {
      await this.#close(current);
      return this.#start();
    }
    if (draw < 0.7) {
      // A takeover while the first lives. It learns of it, or is killed some time.
      const next = await this.#start();
      if (dice.chance(0.5)) this.#killLater(current);
      return next;
    }
    if (draw < 0.9) {
      current.gate.freeze();
      if (dice.chance(0.5)) await world.sleep(dice.skewed(1, 2000));
      world.after(dice.skewed(1, 20_000), () => current.gate.thaw());
      const next = await this.#start();
      if (dice.chance(0.3)) current.gate.thaw();
      return next;
    }
    return current;
  }

  #killLater(process: SimProcess): void {
    const { world, dice } = this.#simulation;
    world.after(dice.skewed(1, 5000), () => process.kill());
  }

  async #close(process: SimProcess): Promise<void> {
    const { world } = this.#simulation;
    const cancel = world.after(CLOSE_PATIENCE_MS, () => process.kill());
    await Promise.race([process.close(), process.ended]);
    cancel();
  }

  /** Starts processes until one serves; sometimes two at once. */
  async #start(): Promise<SimProcess> {
    const { world, dice } = this.#simulation;
    for (let attempt = 0; attempt < OPENINGS_MAX; attempt++) {
      if (dice.chance(0.1)) void this.#open(true);
      const process = await this.#open(dice.chance(0.15));
      if (process !== undefined) return process;
      // As whoever restarts a server does: at once, then less and less eagerly.
      await world.sleep(dice.skewed(0, attempt * 500));
    }
    throw new Error(`${OPENINGS_MAX} processes in a row could not open`);
  }

  /** Undefined when it ended before it served. */
  async #open(isDoomed: boolean): Promise<SimProcess | undefined> {
    const { dice, plan } = this.#simulation;
    const process = this.#create();
    if (isDoomed) this.#killLater(process);
    const isOpen = await Promise.race([process.open(), process.ended.then(() => false)]);
    if (!isOpen) return undefined;
    process.startClients(dice.int(1, plan.clientsMax));
    return process;
  }

  #create(): SimProcess {
    const process = new SimProcess(this.#simulation, this.#processes.length + 1);
    this.#processes.push(process);
    return process;
  }

  async #finish(current: SimProcess): Promise<void> {
    const { world, dice } = this.#simulation;
    for (const process of this.#processes) process.gate.thaw();
    await world.sleep(dice.skewed(1, 3000));
    this.#simulation.store.faulty = false;
    if (current.serving && dice.chance(0.5)) await this.#close(current);
    this.killAll();
    for (let attempt = 0; attempt < FINAL_OPENINGS_MAX; attempt++) {
      // A claim of a dead process may still land and depose this one.
      const process = this.#create();
      const isOpen = await Promise.race([process.open(), process.ended.then(() => false)]);
      if (isOpen && (await this.#readAll(process)) && (await process.close())) {
        return this.#checkClosed(process);
      }
      process.kill();
      await world.sleep(10_000);
    }
    world.fail('with a good network no process could open and close');
  }

  /** Every byte, through the process's own caches, must be what it began with. */
  async #readAll(process: SimProcess): Promise<boolean> {
    for (const volume of process.reign.volumes.values()) {
      const target = new Uint8Array(volume.usableBytes);
      try {
        await process.device(volume.name, volume.usableBytes).read(0, target);
      } catch (error) {
        process.judge(error, 'the last read');
        return false;
      }
      if (Buffer.compare(target, volume.bytes) === 0) continue;
      this.#simulation.world.fail(
        `${process.name} reads other bytes of ${volume.name} than a reader`,
      );
    }
    return true;
  }

  async #checkClosed(process: SimProcess): Promise<void> {
    const { world } = this.#simulation;
    const found = await this.#simulation.inspect();
    for (const [name, { bytes }] of found) {
      const volume = process.reign.volumes.get(name);
      if (volume !== undefined && Buffer.compare(bytes, volume.bytes) === 0) continue;
      world.fail(`volume ${name} changed by a close`);
    }
    if (found.size !== process.reign.volumes.size) world.fail('a close lost volumes');
  }
}

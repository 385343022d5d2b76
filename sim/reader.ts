// A read-only server that follows a branch beside its writer, under a lease.
//
// What it shows is always the state after some prefix of the branch's commits: not older than what
// was acknowledged when its last refresh began, never older than what it showed before, and nothing
// that a later writer did not find. It may fall behind, be refused by the network or by a lease
// that ran out; it must never meet damage.

import type { Clock } from '../src/base/clock.ts';
import { isStorageError, StorageError } from '../src/base/errors.ts';
import { type Database, openDatabase } from '../src/engine/db.ts';
import { openVolumes, type Volumes } from '../src/volume/volumes.ts';
import type { BranchModel } from './branch-model.ts';
import { type Actor, createComponents } from './components.ts';
import type { Dice } from './dice.ts';
import { SIM_PASSPHRASE } from './new-stores.ts';
import type { Seen } from './oracle.ts';
import { drawSettings } from './plan.ts';
import type { Found } from './reign.ts';
import type { Simulation } from './simulation.ts';
import { contentOf, type VolumeContent } from './volume-model.ts';
import { createGatedClock, Gate } from './world.ts';

const READS_MAX = 30;
const TRIES_MAX = 4;
/** Past a lease, now and then. */
const STALL_MS_MAX = 300_000;

export class SimReader implements Actor {
  readonly simulation: Simulation;
  readonly branch: BranchModel;
  readonly name: string;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly dice: Dice;
  #over = false;
  /** What it must not fall behind. */
  #seen: Seen;

  constructor(branch: BranchModel, number: number, dice: Dice) {
    const { simulation } = branch;
    this.simulation = simulation;
    this.branch = branch;
    this.name = `r${number}`;
    this.gate = new Gate(simulation.world);
    this.clock = createGatedClock(simulation.world, this.gate);
    this.dice = dice;
    this.#seen = branch.oracle.start;
  }

  trace(what: string): void {
    this.simulation.world.trace(`${this.name} ${what}`);
  }

  /** Ends by itself, or is killed. Never rejects. */
  async run(): Promise<void> {
    const { simulation, dice } = this;
    try {
      const database = await this.#open();
      if (database === undefined) return;
      void database.failed.then((error) => this.#judge(error, 'following'));
      const volumes = await openVolumes(database, { readAheadBytes: 0 });
      database.onRecords(() => volumes.reload());
      for (let reads = 0; reads < READS_MAX && !this.#over; reads++) {
        await this.clock.sleep(dice.skewed(1, simulation.plan.calmMsMax));
        if (dice.chance(0.15)) this.#stall();
        await this.#read(database, volumes);
      }
      await database.close();
      this.trace('has closed');
    } catch (error) {
      this.#judge(error, 'serving');
    }
    this.kill();
  }

  kill(): void {
    if (this.gate.dead) return;
    this.trace('ends');
    this.#over = true;
    this.gate.kill();
    this.simulation.store.abandon(this);
  }

  #stall(): void {
    const { world } = this.simulation;
    const { dice } = this;
    this.gate.freeze();
    const stallMs = dice.skewed(1, dice.chance(0.3) ? STALL_MS_MAX : 20_000);
    this.trace(`stalls for ${stallMs} ms`);
    world.after(stallMs, () => this.gate.thaw());
  }

  async #open(): Promise<Database | undefined> {
    const followIntervalMs = this.dice.pick([200, 1000, 5000]);
    const drawn = drawSettings(this.dice, this.simulation.plan);
    const memtableBytes = this.dice.pick([64, 600, 600]) * 1024;
    const settings = { ...drawn, memtableBytes, followIntervalMs, readOnly: true };
    this.trace(`follows ${this.branch.name}`);
    try {
      return await openDatabase(createComponents(this), {
        passphrase: SIM_PASSPHRASE,
        branch: this.branch.name,
        ...settings,
      });
    } catch (error) {
      this.#judge(error, 'opening');
      return undefined;
    }
  }

  /** Everything, as far as it stands still meanwhile. */
  async #read(database: Database, volumes: Volumes): Promise<void> {
    const { oracle } = this.branch;
    try {
      const now = oracle.now();
      await database.refresh();
      this.#seen = now;
    } catch (error) {
      this.#judge(error, 'refreshing');
    }
    for (let attempt = 0; attempt < TRIES_MAX && !this.#over; attempt++) {
      const before = viewOf(database);
      try {
        const found = await readVolumes(volumes);
        if (viewOf(database) !== before) continue;
        this.simulation.counters.followerReads += 1;
        this.#seen = oracle.followed(this.#seen, found, this.name);
        return;
      } catch (error) {
        // A volume may be gone, or shorter, since the list of them was read, by a restore.
        const isOfOther = isStorageError(error, 'notFound') || isStorageError(error, 'invalid');
        if (isOfOther && viewOf(database) !== before) continue;
        return this.#judge(error, 'reading');
      }
    }
  }

  #judge(error: unknown, during: string): void {
    if (this.gate.dead) return;
    const kind = error instanceof StorageError ? error.kind : undefined;
    this.trace(`${during} failed: ${kind ?? String(error)}`);
    // A writer with larger memtables than ours flushes later than we can hold.
    if (kind === 'unavailable' || kind === 'noSpace') return;
    this.#over = true;
    if (kind === 'aborted' || (kind === 'notFound' && this.branch.mayBeGone)) return;
    const why = error instanceof Error ? error.message : String(error);
    this.simulation.world.fail(`${this.name}: ${during} failed without a reason: ${why}`, error);
  }
}

/** Two states with the same name are the same. */
function viewOf(database: Database): string {
  const { following, acknowledged } = database.status();
  return `${following?.manifest} ${acknowledged}`;
}

async function readVolumes(volumes: Volumes): Promise<Found> {
  await volumes.reload();
  const found = new Map<string, VolumeContent>();
  for (const { name, sizeBytes } of volumes.list()) {
    const bytes = new Uint8Array(sizeBytes);
    const device = volumes.open(name);
    try {
      await device.read(0, bytes);
    } finally {
      device.close();
    }
    found.set(name, contentOf(bytes));
  }
  return found;
}

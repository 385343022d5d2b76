// One simulated server process: opens the branch through a retried, metered view of the faulty
// store, serves clients, and ends in one of four ways: closed, killed, fenced, or because it could
// not open.
//
// A killed process is cut off at a moment between two events: no reply and no timer reaches it any
// more, its store takes no request, each of its requests under way lands or does not. A frozen one
// goes on after a while as if nothing had happened.
//
// Errors are judged here. `unavailable` is the network's fault. `fenced` is right only after
// another process has claimed the branch; `aborted` only after the process has stopped. Everything
// else is a violation.

import type { Clock } from '../src/base/clock.ts';
import { isStorageError, StorageError } from '../src/base/errors.ts';
import { BLOCK_BYTES, type Database, openDatabase } from '../src/engine/db.ts';
import type { BlockDevice } from '../src/volume/block-device.ts';
import { openVolumes, type Volumes } from '../src/volume/volumes.ts';
import { runClient } from './client.ts';
import { type Actor, createComponents } from './components.ts';
import type { Dice } from './dice.ts';
import { runAdmin } from './admin.ts';
import type { BranchModel, SnapshotModel } from './branch-model.ts';
import type { Reign } from './reign.ts';
import type { Seat } from './seat.ts';
import { SIM_PASSPHRASE } from './new-stores.ts';
import type { Keeper } from './oracle.ts';
import { drawSettings } from './plan.ts';
import type { Simulation } from './simulation.ts';
import { createGatedClock, Gate } from './world.ts';

/**
 * What file-writer.ts promises: whole blocks up to this many bytes, or one segment, are there or
 * not.
 */
const ATOMIC_BYTES_MAX = 1024 * 1024;

/** How often an opening is an occasion to look at all snapshots. */
const LOOK_RATE = 0.2;
const RETRY_MS = 100;

export type ProcessState = 'opening' | 'serving' | 'stopping' | 'retired' | 'ended';
export type Verdict = 'unavailable' | 'over';

export class SimProcess implements Actor {
  readonly simulation: Simulation;
  readonly branch: BranchModel;
  readonly name: string;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly dice: Dice;
  /** Resolves when the process is no more, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #resolveEnded: () => void;
  readonly #devices = new Map<string, BlockDevice>();
  readonly seat: Seat | undefined;
  state: ProcessState = 'opening';
  #actors: Promise<void>[] = [];
  /** Operations of clients under way; none begins while they are held. */
  #steps = 0;
  #onIdle: () => void = () => {};
  #held: PromiseWithResolvers<void> | undefined;
  #database: Database | undefined;
  #volumes: Volumes | undefined;
  #reign: Reign | undefined;
  #atomicBytesMax = 0;

  constructor(branch: BranchModel, number: number, seat: Seat | undefined) {
    const { simulation } = branch;
    this.seat = seat;
    if (seat !== undefined) simulation.seats.set(this, seat);
    this.branch = branch;
    this.simulation = simulation;
    this.name = `p${number}`;
    this.gate = new Gate(simulation.world);
    this.clock = createGatedClock(simulation.world, this.gate);
    this.dice = simulation.dice.fork();
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.#resolveEnded = ended.resolve;
  }

  get serving(): boolean {
    return this.state === 'serving';
  }

  get reign(): Reign {
    return this.#reign!;
  }

  get volumes(): Volumes {
    return this.#volumes!;
  }

  get database(): Database {
    return this.#database!;
  }

  get hasRival(): boolean {
    return this.simulation.hasRival(this, this.branch);
  }

  /** Who vouches for a barrier. */
  get keeper(): Keeper {
    return this.seat?.journal.used === true ? 'journal' : 'store';
  }

  trace(what: string): void {
    this.simulation.world.trace(`${this.name} ${what}`);
  }

  /** True when it serves; false when it has ended instead. */
  async open(): Promise<boolean> {
    const { simulation, seat } = this;
    const others = simulation.manifestsOfOthers(this, this.branch);
    try {
      const settings = drawSettings(this.dice, simulation.plan);
      this.#atomicBytesMax = Math.min(ATOMIC_BYTES_MAX, settings.segmentBytes);
      const { journal } = seat ?? {};
      this.trace(`opens ${this.branch.name} ${JSON.stringify({ ...journal, ...settings })}`);
      const database = await openDatabase(createComponents(this), {
        passphrase: SIM_PASSPHRASE,
        branch: this.branch.name,
        journal: seat?.journal,
        ...settings,
      });
      this.#database = database;
      const { epoch } = database.status();
      this.trace(`has opened as epoch ${epoch}`);
      // No time passes during the look: it shows what this process has found.
      this.#reign = await this.#begin(epoch);
      void this.#watchFailure(database);
      const { readAheadBytes } = simulation.plan;
      this.#volumes = await openVolumes(database, { readAheadBytes });
    } catch (error) {
      const isMet = simulation.manifestsOfOthers(this, this.branch) > others;
      const isRefused = isStorageError(error, 'fenced') && !isMet && !this.hasRival;
      if (isRefused && seat !== undefined && (await this.branch.mayRefuse(seat))) {
        this.trace(`is refused: ${error.message}`);
        simulation.counters.refusals += 1;
      } else if (isMet && isStorageError(error, 'fenced')) this.trace('is overtaken');
      else this.judge(error, 'open');
      this.kill();
      return false;
    }
    this.state = 'serving';
    return true;
  }

  /** What this process has found: no time passes during the look. */
  async #begin(epoch: number): Promise<Reign> {
    const { branch, simulation } = this;
    const { manifest } = await simulation.inspector.head(branch.id!);
    if (manifest.deleted) throw new StorageError('fenced', `branch ${branch.name} was deleted`);
    const found = await simulation.inspector.look(branch.name);
    const reign = branch.oracle.opened(epoch, this.name, found, this.seat);
    if (!branch.isDoomed) branch.presence = 'there';
    if (reign.deposedAt === Infinity) await branch.settleSnapshots();
    if (this.dice.chance(LOOK_RATE)) await branch.checkRoots();
    return reign;
  }

  startClients(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#own(runClient(this, `${this.name}c${i + 1}`, this.dice.fork()));
    }
    this.#own(runAdmin(this, this.dice.fork()));
  }

  #own(actor: Promise<void>): void {
    this.#actors.push(
      actor.catch((error: unknown) => {
        simulationBug(this.simulation, error);
      }),
    );
  }

  /** One operation of a client; not while the state is being replaced. */
  async step(work: () => Promise<void>): Promise<void> {
    while (this.#held !== undefined) await this.#held.promise;
    if (!this.serving) return;
    this.#steps += 1;
    try {
      await work();
    } finally {
      this.#steps -= 1;
      if (this.#steps === 0) this.#onIdle();
    }
  }

  /** The branch becomes what the snapshot holds, while no client does anything. */
  async restore(snapshot: SnapshotModel): Promise<void> {
    this.#held = Promise.withResolvers<void>();
    try {
      while (this.#steps > 0) {
        await new Promise<void>((resolve) => {
          this.#onIdle = resolve;
        });
      }
      for (const device of this.#devices.values()) device.close();
      this.#devices.clear();
      const called = this.simulation.world.tick();
      this.reign.restoring = snapshot.content!;
      while (this.serving) {
        try {
          await this.volumes.restore(snapshot.name);
          this.#reign = this.branch.oracle.restored(this.reign, called);
          return;
        } catch (error) {
          if (this.judge(error, 'restore') === 'over') this.retire();
          else await this.clock.sleep(RETRY_MS);
        }
      }
    } finally {
      this.#held.resolve();
      this.#held = undefined;
    }
  }

  /** Lets clients finish what they do, then closes the engine. False when it failed. */
  async close(): Promise<boolean> {
    const { world } = this.simulation;
    this.state = 'stopping';
    await Promise.all(this.#actors);
    const called = world.tick();
    try {
      await this.#database!.close();
    } catch (error) {
      this.judge(error, 'close');
      this.kill();
      return false;
    }
    this.branch.oracle.acknowledge(this.reign, called, 'store');
    if (!this.hasRival) await this.branch.checkClosed(this.name);
    this.trace('has closed');
    this.kill();
    return true;
  }

  kill(): void {
    if (this.state === 'ended') return;
    this.trace('ends');
    this.state = 'ended';
    this.gate.kill();
    this.simulation.store.abandon(this);
    this.seat?.machine.vacate();
    this.#resolveEnded();
  }

  isAtomic(offset: number, length: number): boolean {
    const whole = offset % BLOCK_BYTES === 0 && length % BLOCK_BYTES === 0;
    return whole && length <= this.#atomicBytesMax;
  }

  /** Deposed, or stopped by itself: clients end, reads are still answered. */
  retire(): void {
    if (this.state === 'serving') this.state = 'retired';
  }

  /** A handle that covers all that clients may use of a volume. */
  device(name: string, sizeBytes: number): BlockDevice {
    const open = this.#devices.get(name);
    if (open !== undefined && open.sizeBytes >= sizeBytes) return open;
    open?.close();
    const device = this.volumes.open(name);
    this.#devices.set(name, device);
    return device;
  }

  /**
   * Says whether what went wrong may be tried again; fails the run when it must not have gone
   * wrong.
   */
  judge(error: unknown, during: string): Verdict {
    this.trace(`${during} failed: ${error instanceof StorageError ? error.kind : String(error)}`);
    if (error instanceof StorageError) {
      if (error.kind === 'unavailable') return 'unavailable';
      if (error.kind === 'noSpace' && this.seat?.machine.troubled === true) return 'unavailable';
      if (error.kind === 'fenced' && this.hasRival) return 'over';
      if (error.kind === 'aborted' && this.state !== 'serving') return 'over';
      if (error.kind === 'notFound' && this.branch.mayBeGone) return 'over';
    }
    const why = error instanceof Error ? `${error.message}` : String(error);
    this.simulation.world.fail(`${this.name}: ${during} failed without a reason: ${why}`, error);
    return 'over';
  }

  async #watchFailure(database: Database): Promise<void> {
    const error = await database.failed;
    this.judge(error, 'the engine');
    this.retire();
  }
}

/** A client must not throw: what it meets is judged. */
function simulationBug({ world }: Simulation, error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  world.fail(`a client failed: ${text}`, error);
}

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
import { StorageError } from '../src/base/errors.ts';
import type { Log } from '../src/base/log.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import { BLOCK_BYTES, type Database, openDatabase } from '../src/engine/db.ts';
import { withMeter } from '../src/objectstore/metered.ts';
import type { ObjectStore } from '../src/objectstore/object-store.ts';
import { withRetry } from '../src/objectstore/retry.ts';
import type { BlockDevice } from '../src/volume/block-device.ts';
import { openVolumes, type Volumes } from '../src/volume/volumes.ts';
import { runClient } from './client.ts';
import type { Dice } from './dice.ts';
import type { StoreClient } from './faulty-store.ts';
import type { Reign } from './oracle.ts';
import { SIM_PASSPHRASE } from './new-stores.ts';
import { drawSettings } from './plan.ts';
import type { PutWatcher, Simulation } from './simulation.ts';
import { createGatedClock, Gate } from './world.ts';

/**
 * What file-writer.ts promises: whole blocks up to this many bytes, or one segment, are there or
 * not.
 */
const ATOMIC_BYTES_MAX = 1024 * 1024;

export type ProcessState = 'opening' | 'serving' | 'stopping' | 'retired' | 'ended';
export type Verdict = 'unavailable' | 'over';

export class SimProcess implements PutWatcher {
  readonly simulation: Simulation;
  readonly name: string;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly dice: Dice;
  /** Resolves when the process is no more, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #resolveEnded: () => void;
  readonly #devices = new Map<string, BlockDevice>();
  state: ProcessState = 'opening';
  #claimed = false;
  #rivals = 0;
  #clients: Promise<void>[] = [];
  #database: Database | undefined;
  #volumes: Volumes | undefined;
  #reign: Reign | undefined;
  #atomicBytesMax = 0;

  constructor(simulation: Simulation, number: number) {
    this.simulation = simulation;
    this.name = `p${number}`;
    this.gate = new Gate(simulation.world);
    this.clock = createGatedClock(simulation.world, this.gate);
    this.dice = simulation.dice.fork();
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.#resolveEnded = ended.resolve;
    simulation.watchers.push(this);
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

  /** Any manifest by another process after our own is its claim to the branch. */
  onManifest(by: StoreClient): void {
    if (by === this) this.#claimed = true;
    else if (this.#claimed) this.#rivals += 1;
  }

  trace(what: string): void {
    this.simulation.world.trace(`${this.name} ${what}`);
  }

  /** True when it serves; false when it has ended instead. */
  async open(): Promise<boolean> {
    const { simulation } = this;
    try {
      const settings = drawSettings(this.dice);
      this.#atomicBytesMax = Math.min(ATOMIC_BYTES_MAX, settings.segmentBytes);
      this.trace(`opens ${JSON.stringify(settings)}`);
      const database = await openDatabase(this.#components(), {
        passphrase: SIM_PASSPHRASE,
        ...settings,
      });
      this.#database = database;
      const { epoch } = database.status();
      this.trace(`has opened as epoch ${epoch}`);
      // No time passes during the look: it shows what this process has found.
      const found = await simulation.inspect();
      this.#reign = simulation.oracle.opened(epoch, this.name, found);
      void this.#watchFailure(database);
      const { readAheadBytes } = simulation.plan;
      this.#volumes = await openVolumes(database, { readAheadBytes });
    } catch (error) {
      this.judge(error, 'open');
      this.kill();
      return false;
    }
    this.state = 'serving';
    return true;
  }

  startClients(count: number): void {
    for (let i = 0; i < count; i++) {
      const client = runClient(this, `${this.name}c${i + 1}`, this.dice.fork());
      this.#clients.push(
        client.catch((error: unknown) => {
          simulationBug(this.simulation, error);
        }),
      );
    }
  }

  /** Lets clients finish what they do, then closes the engine. False when it failed. */
  async close(): Promise<boolean> {
    const { world, oracle } = this.simulation;
    this.state = 'stopping';
    await Promise.all(this.#clients);
    const called = world.tick();
    try {
      await this.#database!.close();
    } catch (error) {
      this.judge(error, 'close');
      this.kill();
      return false;
    }
    oracle.acknowledge(this.reign, called);
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
      if (error.kind === 'fenced' && this.#rivals > 0) return 'over';
      if (error.kind === 'aborted' && this.state !== 'serving') return 'over';
    }
    const why = error instanceof Error ? `${error.message}` : String(error);
    this.simulation.world.fail(`${this.name}: ${during} failed without a reason: ${why}`, error);
    return 'over';
  }

  async #watchFailure(database: Database): Promise<void> {
    const error = await database.failed;
    if (this.judge(error, 'the engine') === 'over') this.retire();
  }

  #components() {
    const { simulation, clock } = this;
    const { store, root, plan } = simulation;
    const log = this.#log();
    const { rng } = this.dice.fork();
    const retried: ObjectStore = withRetry(withMeter(store.view(this)), {
      clock,
      log,
      rng: this.dice.fork().rng,
      ...plan.retry,
    });
    return { store: retried, sealer: createInlineSealer(), clock, rng, log, root };
  }

  #log(): Log {
    const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      this.trace(`${event} ${JSON.stringify(fields)}`);
    };
    return { debug: () => {}, info: note, warn: note, error: note };
  }
}

/** A client must not throw: what it meets is judged. */
function simulationBug({ world }: Simulation, error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  world.fail(`a client failed: ${text}`, error);
}

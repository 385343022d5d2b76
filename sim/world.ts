// Virtual time. One seed is one schedule.
//
//   loop:  let every promise chain run until nothing is runnable (one turn of the real event loop)
//          take the earliest event, move the clock to it, run it
//
// Nothing in the simulation waits for a real timer, thread or socket, so one turn of the event loop
// is enough for all that is runnable to settle, and the order of everything follows from the seed
// alone.
//
// A gate stands between the world and one simulated process: an open gate lets replies and timers
// through, a frozen one keeps them for later, a dead one drops them for ever. A process whose gate
// is dead never runs again.

import type { Clock } from '../src/base/clock.ts';
import { messageOf, StorageError } from '../src/base/errors.ts';
import { type Event, EventHeap } from './event-heap.ts';

/** Far above what a seed needs: past it something goes round in circles. */
const EVENTS_MAX = 400_000;
const START_UNIX_MS = 1_700_000_000_000;

/** What the simulator was built to find. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export class World {
  nowMs = 0;
  /** Counts what happens in the oracle's order: see oracle.ts. */
  #tick = 0;
  #order = 0;
  #traceHash = 0x811c9dc5;
  readonly #events = new EventHeap();
  readonly #onTrace: ((line: string) => void) | undefined;
  #violation: Violation | undefined;

  constructor(onTrace?: (line: string) => void) {
    this.#onTrace = onTrace;
  }

  /** The next number in the order of all that the oracle is told. */
  tick(): number {
    return ++this.#tick;
  }

  get violation(): Violation | undefined {
    return this.#violation;
  }

  /** Of every line so far: equal for two runs of one seed. */
  get traceHash(): string {
    return (this.#traceHash >>> 0).toString(16).padStart(8, '0');
  }

  trace(line: string): void {
    const text = `${this.nowMs} ${line}`;
    let hash = this.#traceHash;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.#traceHash = hash;
    this.#onTrace?.(text);
  }

  /** Ends the run. The first violation is the one that counts. */
  fail(message: string, cause?: unknown): void {
    if (this.#violation !== undefined) return;
    this.trace(`VIOLATION ${message}`);
    this.#violation = new Violation(message, cause === undefined ? undefined : { cause });
  }

  /** Runs `action` after `ms`; the returned function cancels it. */
  after(ms: number, action: () => void): () => void {
    const event: Event = {
      atMs: this.nowMs + Math.max(0, Math.round(ms)),
      order: ++this.#order,
      run: action,
      cancelled: false,
    };
    this.#events.push(event);
    return () => {
      event.cancelled = true;
    };
  }

  /** For the actors that stand outside of all processes. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** Runs until `main` has settled. Throws the violation, if there is one. */
  async run(main: () => Promise<void>): Promise<void> {
    let done = false;
    const finish = (): void => {
      done = true;
    };
    main().then(finish, (error: unknown) => {
      this.fail(`the scenario failed: ${messageOf(error)}`, error);
    });
    for (let events = 0; ; events++) {
      await settle();
      if (this.#violation !== undefined) throw this.#violation;
      if (done) return;
      if (events > EVENTS_MAX) this.fail(`no end after ${EVENTS_MAX} events: something is stuck`);
      const event = this.#events.pop();
      if (event === undefined) {
        this.fail('everyone waits and nothing is under way: a deadlock');
        continue;
      }
      if (event.cancelled) continue;
      this.nowMs = event.atMs;
      event.run();
    }
  }
}

/** One turn of the real event loop: all promise chains have run as far as they can. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

export class Gate {
  readonly #world: World;
  #kept: (() => void)[] | undefined;
  #dead = false;

  constructor(world: World) {
    this.#world = world;
  }

  get dead(): boolean {
    return this.#dead;
  }

  get frozen(): boolean {
    return this.#kept !== undefined;
  }

  deliver(action: () => void): void {
    if (this.#dead) return;
    if (this.#kept === undefined) action();
    else this.#kept.push(action);
  }

  freeze(): void {
    this.#kept ??= [];
  }

  /** What was kept arrives now, each in an event of its own. */
  thaw(): void {
    const kept = this.#kept ?? [];
    this.#kept = undefined;
    for (const action of kept) this.#world.after(0, () => this.deliver(action));
  }

  kill(): void {
    this.#dead = true;
    this.#kept = undefined;
  }
}

/**
 * The clock of one process. It stands still for nobody, but a frozen process does not see it move.
 */
export function createGatedClock(world: World, gate: Gate): Clock {
  function after(ms: number, callback: () => void): () => void {
    let cancelled = false;
    const cancel = world.after(ms, () => {
      gate.deliver(() => {
        if (!cancelled) callback();
      });
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }
  return {
    monotonicMs: () => world.nowMs,
    unixMs: () => START_UNIX_MS + world.nowMs,
    after,
    sleep: (ms, signal) =>
      new Promise<void>((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(new StorageError('aborted', 'gave up before the wait began'));
          return;
        }
        const onAbort = (): void => {
          cancel();
          reject(new StorageError('aborted', 'gave up while waiting'));
        };
        const cancel = after(ms, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        signal?.addEventListener('abort', onAbort, { once: true });
      }),
    yieldTurn: () =>
      new Promise<void>((resolve) => {
        after(0, resolve);
      }),
  };
}

// The object store that all simulated processes share: a memory store behind a bad network.
//
//   request ── travels ──▶ lands ── reply ──▶ caller
//
// Landing is the only moment at which a request reads or changes objects.
//
// What may become of a request:
//   answered   lands, and the reply arrives
//   refused    never lands; the caller gets `unavailable`
//   lost       lands; the caller gets `unavailable`
//   late       the caller gets `unavailable`, and the request lands long after
//   stalled    lands long after, then the reply arrives, if the caller still waits
//
// A caller that aborts gets `aborted` at once; its request may land all the same. When a process is
// killed, each of its requests under way never lands, lands now, or lands later. Listings are
// consistent, page by page.
//
// The body of a put is borrowed until the call settles: the store checks that nobody changes it
// before that.

import { StorageError } from '../src/base/errors.ts';
import { createMemoryStore, type MemoryStore } from '../src/objectstore/memory.ts';
import type {
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from '../src/objectstore/object-store.ts';
import type { Dice } from './dice.ts';
import type { Gate, World } from './world.ts';

export interface FaultProfile {
  /** Of each way that a request may take. */
  readonly latencyMsMax: number;
  readonly refuseRate: number;
  readonly loseRate: number;
  readonly lateRate: number;
  readonly stallRate: number;
  readonly stallMsMax: number;
  /** An outage begins about this often, and lasts at most `stallMsMax`; 0 for never. */
  readonly outageEveryMs: number;
}

/** Whose requests they are. */
export interface StoreClient {
  readonly name: string;
  readonly gate: Gate;
}

type Fate = 'answered' | 'refused' | 'lost' | 'late' | 'stalled';

interface Request<T> {
  readonly client: StoreClient;
  readonly what: string;
  readonly fates: 'put' | 'read';
  readonly signal: AbortSignal | undefined;
  /** Takes effect before it returns. */
  readonly apply: () => Promise<T>;
}

interface Flight {
  readonly client: StoreClient;
  readonly land: () => void;
  cancelled: boolean;
}

export class FaultyStore {
  readonly memory: MemoryStore;
  /** False at the end of a run: everything is answered. */
  faulty = true;
  readonly #world: World;
  readonly #dice: Dice;
  readonly #profile: FaultProfile;
  readonly #pageKeys: number;
  readonly #flights = new Set<Flight>();
  readonly #onPut: (client: StoreClient, key: string) => void;
  #outageFromMs: number;
  #outageToMs: number;

  constructor(
    world: World,
    dice: Dice,
    profile: FaultProfile,
    onPut: (client: StoreClient, key: string) => void,
  ) {
    this.#world = world;
    this.#dice = dice;
    this.#profile = profile;
    this.#onPut = onPut;
    this.#pageKeys = dice.pick([10, 50, 1000]);
    this.memory = createMemoryStore({ pageKeys: this.#pageKeys });
    this.#outageFromMs = this.#outageToMs = 0;
    this.#nextOutage();
  }

  /** The store as one process sees it. */
  view(client: StoreClient): ObjectStore {
    const { memory } = this;
    const read = <T>(what: string, { signal }: RequestOptions, apply: () => Promise<T>) =>
      this.#send({ client, what, fates: 'read', signal, apply });
    return {
      putIfAbsent: (key, body, options) => this.#put(client, key, body, options),
      get: (key, range, options) =>
        read(`get ${key}`, options, () => memory.get(key, range, { cause: options.cause })),
      head: (key, options) =>
        read(`head ${key}`, options, () => memory.head(key, { cause: options.cause })),
      list: (prefix, options) => this.#list(client, prefix, options),
      delete: (key, { signal, cause }) => {
        const apply = (): Promise<void> => memory.delete(key, { cause });
        return this.#send({ client, what: `delete ${key}`, fates: 'put', signal, apply });
      },
      close: async () => {},
    };
  }

  /** Nothing is under way. */
  get isQuiet(): boolean {
    return this.#flights.size === 0;
  }

  /** What is under way of a killed process. */
  abandon(client: StoreClient): void {
    // Landing takes a flight out of the set, which a walk over a set allows.
    for (const flight of this.#flights) {
      if (flight.client !== client || flight.cancelled) continue;
      const fate = this.#dice.int(0, 2);
      if (fate === 0) flight.land();
      else if (fate === 1) this.#world.after(this.#dice.skewed(1, 60_000), flight.land);
      if (fate === 2) this.#drop(flight);
    }
  }

  #put(
    client: StoreClient,
    key: string,
    body: readonly Uint8Array[],
    { signal, cause }: RequestOptions,
  ): Promise<void> {
    const borrowed = [...body];
    const copies = borrowed.map((part) => part.slice());
    let held = true;
    const apply = (): Promise<void> => {
      if (held && !copies.every((copy, i) => Buffer.compare(copy, borrowed[i]!) === 0)) {
        this.#world.fail(`the body of ${key} was changed while its put was under way`);
      }
      const isNew = !this.memory.objects.has(key);
      const putting = this.memory.putIfAbsent(key, copies, { cause });
      if (isNew) this.#onPut(client, key);
      return putting;
    };
    const bytes = copies.reduce((sum, copy) => sum + copy.length, 0);
    const what = `put ${key} (${bytes})`;
    return this.#send({ client, what, fates: 'put', signal, apply }).finally(() => {
      held = false;
    });
  }

  async *#list(
    client: StoreClient,
    prefix: string,
    { signal, cause, startAfter }: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[]> {
    let after = startAfter;
    for (;;) {
      const resume = after === undefined ? {} : { startAfter: after };
      const apply = async (): Promise<readonly ObjectInfo[]> => {
        const pages = this.memory.list(prefix, { cause, ...resume })[Symbol.asyncIterator]();
        const page = await pages.next();
        return page.done === true ? [] : page.value;
      };
      const page = await this.#send({
        client,
        what: `list ${prefix}`,
        fates: 'read',
        signal,
        apply,
      });
      yield page;
      if (page.length < this.#pageKeys) return;
      after = page.at(-1)!.key;
    }
  }

  #send<T>(request: Request<T>): Promise<T> {
    const { client, what, signal } = request;
    return new Promise<T>((resolve, reject) => {
      // The process is gone: nobody is there to be told.
      if (client.gate.dead) return;
      const aborted = (): void => reject(new StorageError('aborted', `gave up: ${what}`));
      if (signal?.aborted === true) return aborted();
      const world = this.#world;
      const fate = this.#fateOf(request.fates);
      const flight: Flight = {
        client,
        cancelled: false,
        land: () => {
          if (flight.cancelled) return;
          flight.cancelled = true;
          this.#flights.delete(flight);
          world.trace(`${client.name} ${what}: lands (${fate})`);
          const outcome = request.apply();
          // A reply that never arrives fails nobody.
          outcome.catch(() => {});
          if (fate === 'late') return;
          const reply = fate === 'lost' ? Promise.reject<T>(unavailable(what)) : outcome;
          reply.catch(() => {});
          world.after(this.#latencyMs(), () => {
            answer(() => void reply.then(resolve, reject));
          });
        },
      };
      const answer = (action: () => void): void => {
        client.gate.deliver(() => {
          signal?.removeEventListener('abort', onAbort);
          action();
        });
      };
      const onAbort = (): void => {
        if (this.#dice.chance(0.4)) this.#drop(flight);
        aborted();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const travelMs = this.#latencyMs();
      const stallMs = this.#dice.skewed(1, this.#profile.stallMsMax);
      if (fate === 'refused' || fate === 'late') {
        world.after(travelMs, () => answer(() => reject(unavailable(what))));
      }
      if (fate === 'refused') return;
      this.#flights.add(flight);
      world.after(fate === 'late' || fate === 'stalled' ? stallMs : travelMs, flight.land);
    });
  }

  #drop(flight: Flight): void {
    flight.cancelled = true;
    this.#flights.delete(flight);
  }

  #latencyMs(): number {
    return this.#dice.skewed(1, this.faulty ? this.#profile.latencyMsMax : 3);
  }

  #fateOf(fates: 'put' | 'read'): Fate {
    if (!this.faulty) return 'answered';
    if (this.#isOut() && this.#dice.chance(0.9)) return 'refused';
    const { refuseRate, loseRate, lateRate, stallRate } = this.#profile;
    let draw = this.#dice.rng.float();
    if ((draw -= refuseRate) < 0) return 'refused';
    if ((draw -= stallRate) < 0) return 'stalled';
    if (fates === 'read') return 'answered';
    if ((draw -= loseRate) < 0) return 'lost';
    if ((draw -= lateRate) < 0) return 'late';
    return 'answered';
  }

  #isOut(): boolean {
    const { nowMs } = this.#world;
    if (nowMs >= this.#outageToMs) this.#nextOutage();
    return nowMs >= this.#outageFromMs && nowMs < this.#outageToMs;
  }

  #nextOutage(): void {
    const { outageEveryMs, stallMsMax } = this.#profile;
    if (outageEveryMs === 0) {
      this.#outageFromMs = this.#outageToMs = Infinity;
      return;
    }
    this.#outageFromMs = this.#world.nowMs + this.#dice.int(1, outageEveryMs * 2);
    this.#outageToMs = this.#outageFromMs + this.#dice.skewed(1, stallMsMax);
  }
}

function unavailable(what: string): StorageError {
  return new StorageError('unavailable', `simulated fault: ${what}`);
}

// The object store that all simulated processes share: a memory store behind a bad network.
//
//   request ── travels ──▶ lands ── reply ──▶ caller
//
// Landing is the only moment at which a request reads or changes objects.
//
// What may become of a request is in network.ts.
//
// A caller that aborts gets `aborted` at once; its request may land all the same. When a process is
// killed, each of its requests under way never lands, lands now, or lands later. Listings are
// consistent, page by page, unless the profile says otherwise.
//
// The body of a put is borrowed until the call settles: the store checks that nobody changes it
// before that.

import { StorageError } from '../src/base/errors.ts';
import { createMemoryStore, type MemoryStore } from '../src/objectstore/memory.ts';
import type {
  GetResult,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  RequestOptions,
} from '../src/objectstore/object-store.ts';
import type { Dice } from './dice.ts';
import { type FaultProfile, type Fate, Network, type RequestSort } from './network.ts';
import { StaleLists } from './stale-lists.ts';
import type { Gate, World } from './world.ts';

/** Whose requests they are. */
export interface StoreClient {
  readonly name: string;
  readonly gate: Gate;
}

interface Request<T> {
  readonly client: StoreClient;
  readonly what: string;
  readonly sort: RequestSort;
  readonly signal: AbortSignal | undefined;
  /** Takes effect before it returns. */
  readonly apply: () => Promise<T>;
  /** The reply with some of its bytes missing. */
  readonly cut?: (reply: T) => T;
}

interface Flight {
  readonly client: StoreClient;
  readonly land: () => void;
  cancelled: boolean;
}

export class FaultyStore {
  readonly memory: MemoryStore;
  readonly network: Network;
  readonly #world: World;
  readonly #dice: Dice;
  readonly #pageKeys: number;
  readonly #lists: StaleLists;
  readonly #flights = new Set<Flight>();
  readonly #onPut: (client: StoreClient, key: string) => void;

  constructor(
    world: World,
    dice: Dice,
    profile: FaultProfile,
    onPut: (client: StoreClient, key: string) => void,
  ) {
    this.#world = world;
    this.#dice = dice;
    this.#onPut = onPut;
    this.#pageKeys = dice.pick([10, 50, 1000]);
    this.memory = createMemoryStore({ pageKeys: this.#pageKeys });
    this.network = new Network(world, dice, profile);
    this.#lists = new StaleLists(world, dice, this.memory, {
      staleMsMax: profile.staleListMsMax,
      pageKeys: this.#pageKeys,
    });
  }

  /** The store as one process sees it. */
  view(client: StoreClient): ObjectStore {
    const { memory } = this;
    return {
      putIfAbsent: (key, body, options) => this.#put(client, key, body, options),
      get: (key, range, { signal, cause }) => {
        const apply = (): Promise<GetResult> => memory.get(key, range, { cause });
        const cut = (reply: GetResult): GetResult => this.#cut(reply);
        return this.#send({ client, what: `get ${key}`, sort: 'get', signal, apply, cut });
      },
      head: (key, { signal, cause }) => {
        const apply = (): Promise<ObjectInfo | undefined> => memory.head(key, { cause });
        return this.#send({ client, what: `head ${key}`, sort: 'look', signal, apply });
      },
      list: (prefix, options) => this.#list(client, prefix, options),
      delete: (key, { signal, cause }) => {
        const apply = (): Promise<void> => {
          this.#lists.note(key);
          return memory.delete(key, { cause });
        };
        return this.#send({ client, what: `delete ${key}`, sort: 'change', signal, apply });
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
      if (isNew) this.#lists.note(key);
      const putting = this.memory.putIfAbsent(key, copies, { cause });
      if (isNew) this.#onPut(client, key);
      return putting;
    };
    const bytes = copies.reduce((sum, copy) => sum + copy.length, 0);
    const what = `put ${key} (${bytes})`;
    return this.#send({ client, what, sort: 'change', signal, apply }).finally(() => {
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
        const pages = this.#lists
          .view()
          .list(prefix, { cause, ...resume })
          [Symbol.asyncIterator]();
        const page = await pages.next();
        return page.done === true ? [] : page.value;
      };
      const page = await this.#send({
        client,
        what: `list ${prefix}`,
        sort: 'look',
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
    const { network } = this;
    return new Promise<T>((resolve, reject) => {
      // The process is gone: nobody is there to be told.
      if (client.gate.dead) return;
      const aborted = (): void => reject(new StorageError('aborted', `gave up: ${what}`));
      if (signal?.aborted === true) return aborted();
      const world = this.#world;
      const fate = network.fateOf(request.sort);
      const answer = (action: () => void): void => {
        client.gate.deliver(() => {
          signal?.removeEventListener('abort', onAbort);
          action();
        });
      };
      const flight = this.#flight(client, () => {
        world.trace(`${client.name} ${what}: lands (${fate})`);
        const outcome = request.apply();
        // A reply that never arrives fails nobody.
        outcome.catch(() => {});
        if (fate === 'twice') this.#again(request);
        if (fate === 'late' || fate === 'hung') return;
        const reply = asReceived(request, fate, outcome);
        reply.catch(() => {});
        world.after(fate === 'slow' ? network.stallMs() : network.latencyMs(), () => {
          answer(() => void reply.then(resolve, reject));
        });
      });
      const onAbort = (): void => {
        if (this.#dice.chance(0.4)) this.#drop(flight);
        aborted();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const travelMs = network.latencyMs();
      if (fate === 'refused' || fate === 'throttled' || fate === 'late') {
        const retryAfterMs = fate === 'throttled' ? network.retryAfterMs() : undefined;
        world.after(travelMs, () => answer(() => reject(unavailable(what, retryAfterMs))));
      }
      const isDropped = fate === 'hung' && this.#dice.chance(0.5);
      if (fate === 'refused' || fate === 'throttled' || isDropped) return;
      this.#flights.add(flight);
      const isLate = fate === 'late' || fate === 'stalled';
      world.after(isLate ? network.stallMs() : travelMs, flight.land);
    });
  }

  /** The network delivers a request once more, and nobody hears of it. */
  #again<T>({ client, what, apply }: Request<T>): void {
    const flight = this.#flight(client, () => {
      this.#world.trace(`${client.name} ${what}: lands again`);
      apply().catch(() => {});
    });
    this.#flights.add(flight);
    this.#world.after(this.network.stallMs(), flight.land);
  }

  #flight(client: StoreClient, onLanding: () => void): Flight {
    const flight: Flight = {
      client,
      cancelled: false,
      land: () => {
        if (flight.cancelled) return;
        this.#drop(flight);
        onLanding();
      },
    };
    return flight;
  }

  #drop(flight: Flight): void {
    flight.cancelled = true;
    this.#flights.delete(flight);
  }

  #cut(reply: GetResult): GetResult {
    const { bytes } = reply;
    if (bytes.length === 0) return reply;
    return { ...reply, bytes: bytes.subarray(0, this.#dice.int(0, bytes.length - 1)) };
  }
}

function asReceived<T>(request: Request<T>, fate: Fate, outcome: Promise<T>): Promise<T> {
  if (fate === 'lost') return Promise.reject(unavailable(request.what));
  const { cut } = request;
  return fate === 'truncated' && cut !== undefined ? outcome.then(cut) : outcome;
}

function unavailable(what: string, retryAfterMs?: number): StorageError {
  return new StorageError('unavailable', `simulated fault: ${what}`, { retryAfterMs });
}

// What all parts of one run share.

import { silentLog } from '../src/base/log.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import { openDatabase, type StoreRoot } from '../src/engine/db.ts';
import { openVolumes } from '../src/volume/volumes.ts';
import { Dice } from './dice.ts';
import { FaultyStore, type StoreClient } from './faulty-store.ts';
import { type Found, Oracle } from './oracle.ts';
import { type NewStores, SIM_PASSPHRASE } from './new-stores.ts';
import { drawPlan, type Plan } from './plan.ts';
import { contentOf, type VolumeContent } from './volume-model.ts';
import { createGatedClock, Gate, World } from './world.ts';

/** A reader that lives for one look needs little memory. */
const READER = { cacheMemoryBytes: 0, mapCacheBytes: 64 * 1024, frameTableCacheBytes: 64 * 1024 };

/** Told which of its objects, and of other processes', have landed. */
export interface PutWatcher extends StoreClient {
  onManifest(by: StoreClient): void;
}

interface SimulationParts {
  readonly world: World;
  readonly dice: Dice;
  readonly plan: Plan;
  readonly store: FaultyStore;
  readonly root: StoreRoot;
  readonly watchers: PutWatcher[];
}

export class Simulation {
  readonly world: World;
  readonly dice: Dice;
  readonly plan: Plan;
  readonly oracle: Oracle;
  readonly store: FaultyStore;
  readonly root: StoreRoot;
  /** Every process that ever began, in order. */
  readonly watchers: PutWatcher[];
  #operationsLeft: number;
  #volumes = 0;

  constructor(parts: SimulationParts) {
    this.world = parts.world;
    this.dice = parts.dice;
    this.plan = parts.plan;
    this.store = parts.store;
    this.root = parts.root;
    this.watchers = parts.watchers;
    this.oracle = new Oracle(parts.world);
    this.#operationsLeft = parts.plan.operations;
  }

  get operationsLeft(): number {
    return this.#operationsLeft;
  }

  takeOperation(): boolean {
    if (this.#operationsLeft === 0) return false;
    this.#operationsLeft -= 1;
    return true;
  }

  nextVolumeName(): string {
    return `v${++this.#volumes}`;
  }

  /**
   * What the store holds at this very moment, as a reader finds it that nothing disturbs: no
   * virtual time passes. Fails the run when anything that is reachable cannot be read.
   */
  async inspect(): Promise<Found> {
    const { memory } = this.store;
    const gate = new Gate(this.world);
    const database = await openDatabase(
      {
        store: memory,
        sealer: createInlineSealer(),
        clock: createGatedClock(this.world, gate),
        rng: this.dice.rng,
        log: silentLog,
        root: this.root,
      },
      { passphrase: SIM_PASSPHRASE, readOnly: true, ...READER },
    );
    const volumes = await openVolumes(database, { readAheadBytes: 0 });
    const found = new Map<string, VolumeContent>();
    for (const { name, sizeBytes } of volumes.list()) {
      const bytes = new Uint8Array(sizeBytes);
      await volumes.open(name).read(0, bytes);
      found.set(name, contentOf(bytes));
    }
    return found;
  }
}

/** Everything up to the moment at which time begins. */
export async function createSimulation(
  seed: number,
  stores: NewStores,
  onTrace?: (line: string) => void,
): Promise<Simulation> {
  const world = new World(onTrace);
  const dice = new Dice(seed);
  const plan = drawPlan(dice);
  world.trace(`plan ${JSON.stringify(plan)}`);
  const watchers: PutWatcher[] = [];
  const store = new FaultyStore(world, dice.fork(), plan.faults, (by, key) => {
    if (!key.includes('/manifest/')) return;
    for (const watcher of watchers) watcher.onManifest(by);
  });
  const { objects, root } = await stores.get(plan.cipher, plan.compression);
  for (const [key, bytes] of objects) store.memory.objects.set(key, bytes);
  return new Simulation({ world, dice, plan, store, root, watchers });
}

// Looks at the shared store from outside of all processes: what it holds at this very moment, as a
// reader finds it that nothing disturbs. No virtual time passes.

import { silentLog } from '../src/base/log.ts';
import type { Rng } from '../src/base/rng.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import { readBranchIndex } from '../src/engine/branch-index.ts';
import { openDatabase, type StoreRoot } from '../src/engine/db.ts';
import { logPrefix, manifestName, manifestPrefix } from '../src/engine/format/names.ts';
import {
  createManifestChain,
  type ManifestAt,
  type ManifestChain,
} from '../src/engine/manifest/manifest-chain.ts';
import type { MemoryStore } from '../src/objectstore/memory.ts';
import type { ObjectStore } from '../src/objectstore/object-store.ts';
import { openVolumes } from '../src/volume/volumes.ts';
import { SIM_PASSPHRASE } from './new-stores.ts';
import type { Found } from './reign.ts';
import { contentOf, type VolumeContent } from './volume-model.ts';
import { createGatedClock, Gate, type World } from './world.ts';

/** A reader that lives for one look needs little memory. */
const READER = { cacheMemoryBytes: 0, mapCacheBytes: 64 * 1024, frameTableCacheBytes: 64 * 1024 };

export class Inspector {
  readonly memory: MemoryStore;
  readonly root: StoreRoot;
  readonly rng: Rng;
  readonly #world: World;

  constructor(world: World, memory: MemoryStore, root: StoreRoot, rng: Rng) {
    this.#world = world;
    this.memory = memory;
    this.root = root;
    this.rng = rng;
  }

  /** Branch names and ids. */
  async branches(): Promise<ReadonlyMap<string, string>> {
    const { branches } = await readBranchIndex(this.memory, this.root.keyring, 'open');
    return branches;
  }

  chain(id: string): ManifestChain {
    return createManifestChain(this.memory, this.root.keyring, this.rng, id);
  }

  /** The highest manifest, deleted or not. */
  async head(id: string): Promise<ManifestAt> {
    const chain = this.chain(id);
    const number = await chain.highest('open');
    return { number, manifest: await chain.loadNumber(number, 'open') };
  }

  /** Every byte of a branch. Fails when anything that is reachable cannot be read. */
  look(branch: string): Promise<Found> {
    return this.#read(this.memory, branch);
  }

  /** Every byte that a manifest's runs hold: a snapshot, or what a branch stands on. */
  lookAt(branch: string, id: string, manifest: number): Promise<Found> {
    return this.#read(pastOf(this.memory, id, manifest), branch);
  }

  async #read(store: ObjectStore, branch: string): Promise<Found> {
    const database = await openDatabase(
      {
        store,
        sealer: createInlineSealer(),
        clock: createGatedClock(this.#world, new Gate(this.#world)),
        rng: this.rng,
        log: silentLog,
        root: this.root,
      },
      { passphrase: SIM_PASSPHRASE, branch, readOnly: true, ...READER },
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

/** A store in which a manifest is the highest of its branch, and nothing was logged since. */
function pastOf(memory: MemoryStore, id: string, manifest: number): ObjectStore {
  return {
    ...memory,
    async *list(prefix, options) {
      if (prefix === manifestPrefix(id)) {
        yield [{ key: manifestName(id, manifest), bytes: 0 }];
      } else if (prefix !== logPrefix(id)) {
        yield* memory.list(prefix, options);
      }
    },
  };
}

/** Of a key `branches/<id>/…`: the branch's id. */
export function branchOfKey(key: string): string | undefined {
  return /^branches\/([0-9a-f]+)\//.exec(key)?.[1];
}

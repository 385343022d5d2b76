// Stores that have just been created, one of each kind, with their roots open.
//
// A key is derived from the passphrase in a thread, in real time, so this is done before a run's
// virtual time begins, and once for all runs. Every store comes from a seed of its own, so that no
// run depends on which others were made.

import { createSeededRng } from '../src/base/rng.ts';
import { systemClock } from '../src/base/system.ts';
import type { CipherName, CompressionName } from '../src/codec/types.ts';
import { initStore, openRoot, type StoreRoot } from '../src/engine/db.ts';
import { createMemoryStore } from '../src/objectstore/memory.ts';

export const SIM_PASSPHRASE = 'simulated';
const SEED = 1;
const KEY_SLOT_COST = { memoryKiB: 8, passes: 1, parallelism: 1 };

export interface NewStore {
  readonly objects: ReadonlyMap<string, Uint8Array>;
  readonly root: StoreRoot;
}

export interface NewStores {
  get(cipher: CipherName, compression: CompressionName): Promise<NewStore>;
}

export function createNewStores(): NewStores {
  const made = new Map<string, Promise<NewStore>>();
  return {
    get(cipher, compression) {
      const kind = `${cipher} ${compression}`;
      const store = made.get(kind) ?? make(cipher, compression);
      made.set(kind, store);
      return store;
    },
  };
}

async function make(cipher: CipherName, compression: CompressionName): Promise<NewStore> {
  const store = createMemoryStore();
  // The time of creation would make two runs differ.
  const clock = { ...systemClock, unixMs: () => 0 };
  const options = { passphrase: SIM_PASSPHRASE, cipher, compression, keySlotCost: KEY_SLOT_COST };
  await initStore({ store, rng: createSeededRng(SEED), clock }, options);
  return { objects: store.objects, root: await openRoot(store, SIM_PASSPHRASE, 'open') };
}

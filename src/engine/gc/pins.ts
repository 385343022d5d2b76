// What the roots beside the head keep: snapshots and branch points, which the current manifest
// lists, and the leases of readers, which lie in the store.
//
// The union of what snapshots and branch points reach is kept in memory and follows the manifest's
// lists: a root more is added to it, a root less means that it is made anew.

import type { Clock } from '../../base/clock.ts';
import { isStorageError } from '../../base/errors.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { type Lease, LEASE_MS, openLease } from '../format/lease.ts';
import { readersPrefix } from '../format/names.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { Manifest } from '../manifest/manifest.ts';
import type { ManifestChain } from '../manifest/manifest-chain.ts';
import type { Publisher } from '../manifest/publisher.ts';
import type { Tables } from '../tables.ts';
import { addReach, createReach, type Reach } from './reach.ts';

export interface PinsComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly manifests: ManifestChain;
  readonly publisher: Publisher;
  readonly tables: Tables;
  readonly lineage: Lineage;
  readonly signal: AbortSignal;
}

/** A reader's root: its manifest's runs, and the log from there on if it says so. */
export interface LeasedRoot {
  readonly number: number;
  readonly log: boolean;
  readonly manifest: Manifest;
  readonly reach: Reach;
}

const OPTIONS = { cause: 'collection' } as const;

export class Pins {
  readonly #c: PinsComponents;
  #kept = { reach: createReach(), manifests: new Set<number>() };
  /** When a lease object was first seen, and what it names. */
  #leases = new Map<string, { readonly seenMs: number; readonly lease: Lease }>();
  #leased = new Map<number, Omit<LeasedRoot, 'log'>>();

  constructor(components: PinsComponents) {
    this.#c = components;
  }

  /** Numbers of manifests that snapshots and branch points name. */
  static numbersOf({ snapshots, points }: Manifest): Set<number> {
    return new Set([...snapshots, ...points].map((root) => root.manifest));
  }

  /** All that snapshots and branch points of the current manifest reach. */
  async kept(): Promise<Reach> {
    const wanted = Pins.numbersOf(this.#c.publisher.current.manifest);
    // Others may ask meanwhile, and begin anew: what is being added to is held on to over the
    // waits.
    let kept = this.#kept;
    if ([...kept.manifests].some((number) => !wanted.has(number))) {
      kept = { reach: createReach(), manifests: new Set() };
      this.#kept = kept;
    }
    for (const number of wanted) {
      if (kept.manifests.has(number)) continue;
      await this.addManifest(kept.reach, number);
      kept.manifests.add(number);
    }
    return kept.reach;
  }

  /** Adds what a kept manifest reaches. */
  async addManifest(reach: Reach, number: number): Promise<Manifest> {
    const { manifests, tables, lineage, signal } = this.#c;
    const manifest = await manifests.loadNumber(number, 'collection');
    const runs = manifest.runs.map((run) => tables.open(run));
    await addReach(reach, runs, lineage, signal);
    return manifest;
  }

  /** The roots of all readers whose lease is not void, as a listing made now shows them. */
  async leased(): Promise<readonly LeasedRoot[]> {
    const wanted = await this.#listLeases();
    for (const number of this.#leased.keys()) {
      if (!wanted.has(number)) this.#leased.delete(number);
    }
    for (const number of wanted.keys()) {
      if (this.#leased.has(number)) continue;
      try {
        const reach = createReach();
        const manifest = await this.addManifest(reach, number);
        this.#leased.set(number, { number, manifest, reach });
      } catch (error) {
        // The reader came too late: it will find that this is not the highest, and take another.
        if (!isStorageError(error, 'notFound')) throw error;
      }
    }
    return [...this.#leased.values()].map((root) => ({ ...root, log: wanted.get(root.number)! }));
  }

  /**
   * Numbers of the manifests that readers hold, and whether the log behind them is read. Deletes
   * leases that have become void.
   */
  async #listLeases(): Promise<Map<number, boolean>> {
    const { store, keyring, lineage, clock } = this.#c;
    const now = clock.monotonicMs();
    const present = new Map<string, { readonly seenMs: number; readonly lease: Lease }>();
    for await (const page of store.list(readersPrefix(lineage.own), OPTIONS)) {
      for (const { key } of page) {
        const known = this.#leases.get(key);
        if (known !== undefined && now - known.seenMs > LEASE_MS) {
          await store.delete(key, OPTIONS);
          continue;
        }
        try {
          present.set(key, known ?? { seenMs: now, lease: await this.#read(keyring, key) });
        } catch (error) {
          // Its reader has renewed it, or left, since the listing: then a later one counts.
          if (!isStorageError(error, 'notFound')) throw error;
          return this.#listLeases();
        }
      }
    }
    this.#leases = present;
    const wanted = new Map<number, boolean>();
    for (const { lease } of present.values()) {
      wanted.set(lease.manifest, lease.log || (wanted.get(lease.manifest) ?? false));
    }
    return wanted;
  }

  async #read(keyring: Keyring, key: string): Promise<Lease> {
    const { bytes } = await this.#c.store.get(key, undefined, OPTIONS);
    return openLease(keyring, key, bytes);
  }
}

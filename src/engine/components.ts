// What an open branch is built from: the caller's components, and what opening found in the store.

import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Rng } from '../base/rng.ts';
import type { DiskCache } from '../cache/disk/disk-cache.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { Sealer } from '../codec/sealer.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import type { Follower } from './follow/follower.ts';
import type { Grace } from './gc/grace.ts';
import type { JournalDisk } from './journal/journal-disk.ts';
import type { LocalJournal } from './journal/local-journal.ts';
import type { Lineage } from './manifest/lineage.ts';
import type { ManifestChain } from './manifest/manifest-chain.ts';
import type { Recovered } from './recovery.ts';
import type { StoreFormat, StoreRoot } from './store-root.ts';
import type { Tables } from './tables.ts';
import type { Tree } from './tree.ts';

export interface DatabaseComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** Where journals lie; needed for `settings.journal`. */
  readonly journalDisk?: JournalDisk | undefined;
  /** Sealed frames on a local disk, if there is one. The caller closes it, after the database. */
  readonly diskCache?: DiskCache | undefined;
  /** The store's root, if it is open already: the passphrase is then not tried again. */
  readonly root?: StoreRoot;
}

/** What openDatabase found in the store. */
export interface Opened {
  readonly store: ObjectStore;
  readonly format: StoreFormat;
  readonly keyring: Keyring;
  readonly lineage: Lineage;
  readonly manifests: ManifestChain;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly grace: Grace;
  readonly recovered: Recovered;
  /** Of a branch that is followed. */
  readonly follower?: Follower;
  readonly local?: LocalJournal | undefined;
}

// Opens a branch, or a snapshot of it, for reading under a lease. The lease comes before everything
// that it protects.

import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { Grace } from '../gc/grace.ts';
import { Lineage } from '../manifest/lineage.ts';
import type { ManifestChain } from '../manifest/manifest-chain.ts';
import type { DatabaseSettings } from '../settings.ts';
import { Tables } from '../tables.ts';
import type { Tree } from '../tree.ts';
import { Follower } from './follower.ts';
import { holdRoot } from './held-root.ts';
import { withLease } from './leased-store.ts';
import { ViewReader } from './view-reader.ts';

/**
 * A writer with our settings has up to two memtables in its log, and one more segment; past twice
 * that we wait for it to flush.
 */
const MEMTABLES_MAX = 4;
/** Between attempts to get a lost lease of a snapshot back. */
const SNAPSHOT_INTERVAL_MS = 1000;

export interface OpenFollowerComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly manifests: ManifestChain;
  /** Empty; holds the state when the follower is open. */
  readonly tree: Tree;
}

export interface Following {
  readonly follower: Follower;
  /** For clients' reads: refuses them while the lease is lost. */
  readonly store: ObjectStore;
  /** For clients to be counted in. */
  readonly grace: Grace;
  readonly lineage: Lineage;
  readonly tables: Tables;
}

/** `notFound` for a branch that was deleted, and for a snapshot that is not there. */
export async function openFollower(
  components: OpenFollowerComponents,
  branch: string,
  settings: DatabaseSettings,
): Promise<Following> {
  const { manifests, clock, log, tree } = components;
  const { snapshot, followIntervalMs, memtableBytes, tableCacheBytes, onProgress } = settings;
  const hold = () => holdRoot(components, { branch, snapshot });
  const first = await hold();
  const lineage = new Lineage(branch, first.manifest.lineage);
  // Clients come when there is a follower.
  let isLost = (): boolean => false;
  const store = withLease(components.store, () => isLost());
  const tables = new Tables(
    { ...components, store },
    lineage,
    first.manifest.epoch,
    tableCacheBytes,
  );
  const views = new ViewReader(
    { ...components, branch, tables },
    { memtableBytesMax: memtableBytes * MEMTABLES_MAX, onProgress },
  );
  const grace = new Grace();
  const follower = await Follower.open(
    { manifests, clock, log, tree, tables, grace, views, hold },
    {
      intervalMs: followIntervalMs ?? SNAPSHOT_INTERVAL_MS,
      snapshot: snapshot !== undefined,
    },
    first,
  );
  isLost = () => follower.isLost;
  return { follower, store, grace, lineage, tables };
}

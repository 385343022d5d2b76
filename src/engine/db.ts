// The one public door of the engine: files of 4 KiB blocks and small named records in one branch of
// a store, changed in order, made durable by barriers. ARCHITECTURE.md has the map; the write path
// is file-writer.ts → log/, the read path is file-reader.ts → frame-reader.ts, the tree is tree.ts,
// the background is writer.ts.

import { StorageError } from '../base/errors.ts';
import type { DatabaseComponents } from './components.ts';
import { Database } from './database.ts';
import type { Keyring } from '../codec/keyring.ts';
import { openFollower } from './follow/open-follower.ts';
import { Grace } from './gc/grace.ts';
import { admitUnjournaled } from './journal/admit.ts';
import { LocalJournal } from './journal/local-journal.ts';
import { asWriter } from './manifest/deposed.ts';
import { Lineage } from './manifest/lineage.ts';
import type { JournalName, Manifest } from './manifest/manifest.ts';
import { createManifestChain } from './manifest/manifest-chain.ts';
import { recover } from './recovery.ts';
import { DATABASE_DEFAULTS, type DatabaseSettings } from './settings.ts';
import { findBranch, openRoot } from './store-root.ts';
import { Tables } from './tables.ts';
import { Tree } from './tree.ts';

export { BLOCK_BYTES } from './format/pointer.ts';
export { initStore, MAIN_BRANCH, openRoot, type StoreRoot } from './store-root.ts';
export {
  DATABASE_DEFAULTS,
  type DatabaseSettings,
  type FoundBranch,
  type JournalOptions,
} from './settings.ts';
export type { JournalDisk, JournalFile } from './journal/journal-disk.ts';
export {
  discardJournal,
  type ExportedChange,
  exportJournal,
  listJournals,
  type LocalJournalInfo,
} from './journal/journal-tools.ts';
export { createNodeJournalDisk, type NodeJournalDisk } from './journal/node-journal-disk.ts';
export type { FileExtent } from './extents.ts';
export type { DatabaseStatus } from './status.ts';
export type { CollectProgress, CollectReport } from './gc/collector.ts';
export type { BranchInfo } from './branches.ts';
export type { Roots, SnapshotInfo } from './roots.ts';
export { type CheckProgress, checkStore } from './check/check-store.ts';
export type { CheckError, CheckReport } from './check/report.ts';
export { isRepairable, repairBranch, type RepairReport } from './check/repair.ts';
export { salvage, type SalvageReport } from './check/salvage.ts';

export type { DatabaseComponents } from './components.ts';
export { Database } from './database.ts';

/**
 * Opens a branch. Writers fence their predecessor, see recovery.ts; followers take a lease, see
 * follow/.
 */
export async function openDatabase(
  components: DatabaseComponents,
  settings: Pick<DatabaseSettings, 'passphrase'> & Partial<DatabaseSettings>,
): Promise<Database> {
  const full: DatabaseSettings = { ...DATABASE_DEFAULTS, ...settings };
  const { store, rng, log } = components;
  const root = components.root ?? (await openRoot(store, full.passphrase, 'open'));
  const { format, keyring } = root;
  const branch = await findBranch(store, keyring, full.branch);
  const manifests = createManifestChain(store, keyring, rng, branch);
  const tree = new Tree(full.mapCacheBytes, full.frameTableCacheBytes);
  const base = { format, keyring, manifests, tree };
  if (full.snapshot !== undefined && !full.readOnly) {
    throw new StorageError('invalid', 'a snapshot is served read-only: say so, or restore it');
  }
  if (full.readOnly && (full.followIntervalMs ?? full.snapshot) !== undefined) {
    const following = await openFollower({ ...components, ...base }, branch, full);
    const { root: held, position } = following.follower;
    const recovered = { epoch: position.epoch, root: held, position };
    return new Database(components, full, { ...base, ...following, recovered });
  }
  const local = full.readOnly ? undefined : openLocal({ ...components, keyring }, branch, full);
  const look = (await local?.look()) ?? admitUnjournaled;
  const admit = (manifest: Manifest, number: number): JournalName | undefined => {
    const { storeId } = format;
    full.onFound?.({ storeId, branch, epoch: manifest.epoch, manifest: number });
    return look(manifest);
  };
  await local?.spool?.clear();
  const recovered = await recover(
    { store, keyring, rng, log, manifests },
    {
      branch,
      readOnly: full.readOnly,
      cipher: format.cipher,
      memtable: tree.active,
      admit,
      onProgress: full.onProgress,
    },
  );
  const tableComponents = { ...components, keyring };
  const lineage = new Lineage(branch, recovered.root.manifest.lineage);
  const tables = new Tables(tableComponents, lineage, recovered.epoch, full.tableCacheBytes);
  tree.runs = recovered.root.manifest.runs.map((run) => tables.open(run));
  const { number, manifest } = recovered.root;
  if (full.readOnly) await tables.preload(tree.runs);
  else
    await asWriter(manifests, { newest: () => number, epoch: manifest.epoch }, () =>
      tables.preload(tree.runs),
    );
  const grace = new Grace();
  const opened = { ...base, store, grace, lineage, tables, recovered, local };
  const database = new Database(components, full, opened);
  await database.begin();
  return database;
}

function openLocal(
  components: DatabaseComponents & { readonly keyring: Keyring },
  branch: string,
  { journal }: DatabaseSettings,
): LocalJournal | undefined {
  const { journalDisk: disk } = components;
  return journal && disk && new LocalJournal({ ...components, disk }, branch, journal);
}

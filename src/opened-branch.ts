// The part of the composition root that opens the branch which the settings name: caches, journal
// and disk cache by the settings, and a note of what this machine has seen of it.
//
// In two steps, as one process may replace another: what takes time and changes nothing comes
// first, while the other still serves.

import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from './base/clock.ts';
import { messageOf } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { Rng } from './base/rng.ts';
import { splitCacheBudget } from './cache/budget.ts';
import { type DiskCache, openDiskCache } from './cache/disk/disk-cache.ts';
import { nodeDisk } from './cache/disk/node-disk.ts';
import type { Progress } from './cli/progress.ts';
import { Seen } from './cli/seen.ts';
import type { Settings } from './cli/settings.ts';
import type { Sealer } from './codec/sealer.ts';
import { createSealerPool } from './codec/sealer-pool.ts';
import {
  createNodeJournalDisk,
  type Database,
  type DatabaseSettings,
  openDatabase,
  openRoot,
  type StoreRoot,
} from './engine/db.ts';
import type { ObjectStore } from './objectstore/object-store.ts';

/** How often what was seen of the branch is noted. */
const SEEN_INTERVAL_MS = 60_000;

/** The write verifier of a server that answers no writes. */
const NO_WRITES = '0000000000000000';

/** Below this, handing a job to a thread costs more than doing it. */
const SEALING = { inlineBytesMax: 72 * 1024 };

const SEALER_THREADS_MAX = 4;

/** A read-only server trails its branch by so much: one listing of the log each time. */
const FOLLOW_INTERVAL_MS = 1000;

export interface BranchComponents {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly progress: Progress;
}

/** A store, its keys, and the threads that seal. */
export interface UnlockedStore {
  readonly store: ObjectStore;
  readonly passphrase: string;
  readonly root: StoreRoot;
  readonly sealer: Sealer;
}

/** Throws what a wrong passphrase throws. `open` closes the threads. */
export async function unlockStore(
  store: ObjectStore,
  passphrase: string,
  log: Log,
  open: AsyncDisposableStack,
): Promise<UnlockedStore> {
  const sealer = createSealerPool({ threads: sealerThreads(), ...SEALING, log });
  open.defer(() => sealer.close());
  const root = await openRoot(store, passphrase, 'open');
  return { store, passphrase, root, sealer };
}

export interface OpenedBranch {
  readonly database: Database;
  /** RFC 0005. */
  readonly writeVerifier: string;
}

/** `open` closes it and all that it stands on. */
export async function openBranch(
  settings: Settings,
  components: BranchComponents,
  { store, passphrase, sealer, root }: UnlockedStore,
  open: AsyncDisposableStack,
): Promise<OpenedBranch> {
  const { clock, rng, log, progress } = components;
  const diskCache = await openCache(settings, components);
  open.defer(() => diskCache?.close());
  const seen = new Seen(settings.stateDir);
  const journalDisk = createNodeJournalDisk();
  open.defer(() => journalDisk.close());
  progress.begin('opening the branch');
  const database = await openDatabase(
    { store, sealer, clock, rng, log, diskCache, root, journalDisk },
    {
      passphrase,
      branch: settings.branch,
      readOnly: settings.readOnly,
      snapshot: settings.snapshot,
      followIntervalMs: FOLLOW_INTERVAL_MS,
      ...cacheBudgets(settings.cacheMemoryBytes),
      journal: journalOptions(settings),
      onFound: (found) => seen.check(found, settings.acceptRollback),
      onProgress: (done, total) => progress.update(done, total),
    },
  );
  const writeVerifier = writeVerifierOf(database, seen, rng);
  open.defer(async () => {
    await database.close();
    // Whoever gets here has nothing left that could be lost.
    await noteSeen(seen, database, log, writeVerifier);
  });
  const note = (): Promise<void> => noteSeen(seen, database, log);
  await note();
  open.defer(every(clock, SEEN_INTERVAL_MS, note));
  return { database, writeVerifier };
}

/** That of the server before this one if nothing can have been lost in between. */
function writeVerifierOf(database: Database, seen: Seen, rng: Rng): string {
  if (database.readOnly) return NO_WRITES;
  return (
    seen.endedClean(database.status().epoch) ??
    Buffer.from(rng.bytes(NO_WRITES.length / 2)).toString('hex')
  );
}

/** One core is left to the thread that serves. */
function sealerThreads(): number {
  return Math.max(1, Math.min(SEALER_THREADS_MAX, availableParallelism() - 1));
}

/** One budget for all that the engine caches in memory. */
function cacheBudgets(totalBytes: number): Partial<DatabaseSettings> {
  const { blocks, blocksMax, maps, frameTables, tableBlocks } = splitCacheBudget(totalBytes);
  return {
    cacheMemoryBytes: blocksMax,
    cacheKeptBytes: blocks,
    mapCacheBytes: maps,
    frameTableCacheBytes: frameTables,
    tableCacheBytes: tableBlocks,
  };
}

/** Also of the store tier: what a journal holds is taken up. */
function journalOptions({ stateDir, durability, journal, abandonJournal }: Settings) {
  return {
    ...journal,
    directory: join(stateDir, 'journal'),
    used: durability === 'journal',
    abandon: abandonJournal,
    host: hostname(),
  };
}

/** Never fails for the disk's sake: a cache that cannot be used is none. */
async function openCache(
  { cacheDiskBytes, stateDir }: Settings,
  { clock, rng, log }: BranchComponents,
): Promise<DiskCache | undefined> {
  if (cacheDiskBytes === 0) return undefined;
  const where = { directory: join(stateDir, 'cache'), budgetBytes: cacheDiskBytes };
  return openDiskCache({ disk: nodeDisk, clock, rng, log }, where);
}

/** Never rejects: it is a help against rollbacks, and not worth a server. */
async function noteSeen(
  seen: Seen,
  database: Database,
  log: Log,
  endedClean?: string,
): Promise<void> {
  const { epoch, manifest } = database.status();
  if (database.readOnly) return;
  await seen.note(epoch, manifest, endedClean).catch((error: unknown) => {
    log.warn('seen.failed', { error: messageOf(error) });
  });
}

/** Runs `work` again and again; what it returns ends that. */
function every(clock: Clock, ms: number, work: () => Promise<void>): () => void {
  let cancel = (): void => {};
  let stopped = false;
  const arm = (): void => {
    cancel = clock.after(ms, () => void tick());
  };
  const tick = async (): Promise<void> => {
    await work();
    if (!stopped) arm();
  };
  arm();
  return () => {
    stopped = true;
    cancel();
  };
}

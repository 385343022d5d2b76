// The composition root: the one place that builds components from settings.
//
//   lock the state directory
//   store:    url → directory | s3 | memory, metered (real requests), retried
//   engine:   passphrase → data key → sealers → database → volumes
//   faces:    NBD listeners, admin.sock
//
// What was opened is closed in reverse: faces stop taking requests, the database makes everything
// durable, then the store and the lock go. Whatever fails on the way up is closed the same way.

import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import { messageOf, StorageError } from './base/errors.ts';
import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import type { Rng } from './base/rng.ts';
import { splitCacheBudget } from './cache/budget.ts';
import { type DiskCache, openDiskCache } from './cache/disk/disk-cache.ts';
import { nodeDisk } from './cache/disk/node-disk.ts';
import type { Progress } from './cli/progress.ts';
import type { Settings, VolumeSetting } from './cli/settings.ts';
import { Seen } from './cli/seen.ts';
import { lockStateDir } from './cli/state-dir.ts';
import { createSealerPool } from './codec/sealer-pool.ts';
import { type Database, type DatabaseSettings, initStore } from './engine/db.ts';
import { createNodeJournalDisk, openDatabase, openRoot } from './engine/db.ts';
import { createDirectoryStore } from './objectstore/directory.ts';
import { createMemoryStore } from './objectstore/memory.ts';
import { type Meter, withMeter } from './objectstore/metered.ts';
import type { ObjectStore } from './objectstore/object-store.ts';
import { type RetryingStore, withRetry } from './objectstore/retry.ts';
import { parseStoreUrl, type StoreLocation } from './objectstore/url.ts';
import { answersAt, createAdminServer } from './server/http/admin.ts';
import { createAdminService, type DatabaseSource } from './server/http/service.ts';
import type { HandoverSource, UpgradeReport } from './server/handover/predecessor.ts';
import type { Legacy, Succession } from './server/handover/successor.ts';
import { NBD_SERVER_DEFAULTS, type NbdServer, startNbdServer } from './server/nbd/server.ts';
import { openVolumes, type Volumes } from './volume/volumes.ts';
import { loadWires, nbdReport, nbdUri, startHttp } from './wires.ts';

/** A request that takes longer than an attempt is not slow but lost. */
function retrySettings({ timeout }: Settings) {
  const read = { attemptTimeoutMs: 5_000, totalDeadlineMs: timeout.readMs };
  const start = { attemptTimeoutMs: 5_000, totalDeadlineMs: 120_000 };
  const barrier = { attemptTimeoutMs: 10_000 };
  return {
    attemptTimeoutMs: 30_000,
    totalDeadlineMs: timeout.writeMs,
    baseDelayMs: 100,
    maxDelayMs: 5_000,
    byCause: { read, lookup: read, open: start, admin: start, barrier },
  };
}

/** How often what was seen of the branch is noted. */
const SEEN_INTERVAL_MS = 60_000;

/** Below this, handing a job to a thread costs more than doing it. */
const SEALING = { inlineBytesMax: 72 * 1024 };

/** What is fetched ahead of one sequential reader: a few objects' latency at full bandwidth. */
const READ_AHEAD_BYTES = 4 * 1024 * 1024;

const SEALER_THREADS_MAX = 4;

/** A read-only server trails its branch by so much: one listing of the log each time. */
const FOLLOW_INTERVAL_MS = 1000;

export interface DaemonComponents {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly progress: Progress;
  /** Asked once the state directory is ours. */
  readonly passphrase: () => Promise<string>;
  readonly version: string;
  /** For the AWS chain: keys, profile, region. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Replaces this process; asked for over the admin socket. */
  readonly upgrade?: (onProgress: (what: string) => void) => Promise<UpgradeReport>;
  /** Of a process that replaces another. */
  readonly succession?: Succession | undefined;
}

export interface Face {
  readonly kind: string;
  readonly uri: string;
}

export interface Daemon {
  readonly faces: readonly Face[];
  readonly volumes: readonly VolumeSetting[];
  readonly adminSocket: string;
  /**
   * Stops taking requests, makes everything durable, closes. Idempotent; throws what closing met.
   */
  stop(): Promise<void>;
  /** Resolves with the reason when the engine stops by itself, fenced above all. */
  readonly failed: Promise<StorageError>;
  /** How another process takes over. */
  readonly handover: HandoverSource;
}

/** Creates the store. Throws `exists` when there is one. */
export async function createStore(settings: Settings, components: DaemonComponents): Promise<void> {
  const { clock, rng } = components;
  await using open = new AsyncDisposableStack();
  const { store } = await openStore(settings, components, open);
  const { cipher, compression } = settings;
  const passphrase = await components.passphrase();
  open.defer(() => components.progress.end());
  components.progress.begin('creating the store');
  await initStore({ store, rng, clock }, { passphrase, cipher, compression });
}

/** Resolves when every face listens. */
export async function startDaemon(
  settings: Settings,
  components: DaemonComponents,
): Promise<Daemon> {
  const { clock, rng, log, progress, succession } = components;
  await using rising = new AsyncDisposableStack();
  const wires = await loadWires(settings, log);
  const adminSocket = join(settings.stateDir, 'admin.sock');
  const lockState = async (): Promise<void> => {
    const lock = await lockStateDir(settings.stateDir, () => answersAt(adminSocket));
    rising.defer(() => lock.release());
  };
  if (succession === undefined) await lockState();

  // A face that answers the request for an upgrade cannot wait for its end.
  let releasing = false;
  async function withoutUpgrade(closed: Promise<void>): Promise<void> {
    if (!releasing) return closed;
    closed.catch((error: unknown) => log.warn('face.close.failed', { error: messageOf(error) }));
  }

  const { store, meter } = await openStore(settings, components, rising);
  const passphrase = await components.passphrase();
  const sealer = createSealerPool({ threads: sealerThreads(), ...SEALING, log });
  rising.defer(() => sealer.close());
  const root = await openRoot(store, passphrase, 'open');
  const serves = JSON.stringify([root.format.storeId, settings.branch, settings.snapshot]);
  const legacy = await succession?.takeOver(components.version, serves);
  if (legacy !== undefined) await lockState();
  rising.defer(() => progress.end());
  const diskCache = await openCache(settings, components);
  rising.defer(() => diskCache?.close());
  const seen = new Seen(settings.stateDir);
  const journalDisk = createNodeJournalDisk();
  rising.defer(() => journalDisk.close());
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
  rising.defer(() => database.close());
  const note = (): Promise<void> => noteSeen(seen, database, log);
  await note();
  rising.defer(note);
  rising.defer(every(clock, SEEN_INTERVAL_MS, note));
  checkSuccession(legacy, database);

  const volumes = await openVolumes(database, { readAheadBytes: READ_AHEAD_BYTES });
  database.onRecords(() => volumes.reload());
  if (!settings.readOnly) await ensureVolumes(volumes, settings.volumes, log);
  const faces: Face[] = [];
  const listening: { nbd?: NbdServer } = {};
  const service = createAdminService({
    nbd: () => (listening.nbd === undefined ? undefined : nbdReport(listening.nbd)),
    database: databaseSource(database),
    outage: () => outageOf(store, clock),
    volumes,
    meter,
    log,
    faces,
    snapshot: settings.snapshot,
    version: components.version,
    upgrade: components.upgrade,
  });
  const admin = await createAdminServer({ service, log }, adminSocket);
  rising.defer(() => withoutUpgrade(admin.close()));
  const nbd = await startNbdServer(
    { directory: volumes, clock, log, tls: wires.tls },
    {
      addresses: settings.nbd,
      access: settings.tls.exports,
      ...NBD_SERVER_DEFAULTS,
      inheritance: legacy,
    },
  );
  rising.defer(() => nbd.stop());
  listening.nbd = nbd;
  for (const address of nbd.addresses) {
    faces.push({ kind: 'nbd', uri: nbdUri(address, wires.tls !== undefined) });
  }
  const http = await startHttp(settings, wires, { service, log });
  rising.defer(() => (http === undefined ? undefined : withoutUpgrade(http.close())));
  if (http !== undefined) faces.push({ kind: 'http', uri: http.uri });
  progress.end();

  const running = rising.move();
  return {
    faces,
    volumes: volumes.list(),
    adminSocket,
    stop: () => running.disposeAsync(),
    failed: database.failed,
    handover: handoverOf(settings, serves, {
      nbd,
      database,
      close() {
        releasing = true;
        return running.disposeAsync();
      },
    }),
  };
}

/** How a successor takes over what runs; `close` closes all of it. */
function handoverOf(
  { storeUrl, readOnly }: Settings,
  serves: string,
  { nbd, database, close }: { nbd: NbdServer; database: Database; close: () => Promise<void> },
): HandoverSource {
  return {
    serves,
    obstacle: storeUrl === 'memory:' ? 'a store in memory ends with its process' : undefined,
    listeners: () => nbd.listeners(),
    barrier: async () => database.storeBarrier(),
    async release() {
      const released = await nbd.release();
      const epoch = readOnly ? undefined : database.status().epoch;
      try {
        await close();
      } catch (error) {
        // What was answered and not made durable may be lost: its clients must hear of it.
        for (const { socket } of released.connections) socket.destroy();
        throw error;
      }
      return { ...released, epoch };
    },
  };
}

/**
 * Clients that go on have seen, and may keep, what the predecessor served. A writer that had the
 * branch between the two may have changed it under them.
 */
function checkSuccession(legacy: Legacy | undefined, database: Database): void {
  if (legacy?.epoch === undefined || database.status().epoch === legacy.epoch + 1) return;
  throw new StorageError(
    'fenced',
    'another server has had the branch since the one that this one replaces: its clients must ' +
      'connect again',
  );
}

/** The store that the settings name; `open` closes it. */
export async function openStore(
  settings: Settings,
  components: DaemonComponents,
  open: AsyncDisposableStack,
): Promise<{ readonly store: RetryingStore; readonly meter: Meter }> {
  if (settings.storeUrl === undefined) {
    throw new StorageError(
      'invalid',
      'no store given: name one with --store file:DIR or --store s3://BUCKET/PREFIX',
    );
  }
  const { clock, rng, log } = components;
  const metered = withMeter(await bareStore(settings, settings.storeUrl, components));
  const store = withRetry(metered, { clock, rng, log, ...retrySettings(settings) });
  open.defer(() => store.close());
  return { store, meter: metered.meter };
}

async function bareStore(
  { s3 }: Settings,
  url: string,
  components: DaemonComponents,
): Promise<ObjectStore> {
  const { clock, rng } = components;
  const location = parseStoreUrl(url);
  switch (location.kind) {
    case 'memory':
      return createMemoryStore();
    case 'file':
      return createDirectoryStore({ rng, clock, root: location.directory });
    case 's3': {
      return openS3(location, s3, components);
    }
  }
}

/** AWS wants the bucket in the host's name; other servers rarely have the DNS names for that. */
async function openS3(
  { bucket, prefix }: Extract<StoreLocation, { kind: 's3' }>,
  { endpoint, region }: Settings['s3'],
  { clock, log, env }: DaemonComponents,
): Promise<ObjectStore> {
  // Loaded when it is needed: undici takes a tenth of a second and several megabytes.
  const { awsCredentials } = await import('./objectstore/s3/credentials.ts');
  const { createS3Store } = await import('./objectstore/s3/s3-store.ts');
  return createS3Store({
    bucket,
    prefix,
    ...(endpoint === undefined ? {} : { endpoint }),
    region: region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
    // A dot in a bucket's name does not match the certificate of *.s3.amazonaws.com.
    addressing: endpoint === undefined && !bucket.includes('.') ? 'virtual' : 'path',
    credentials: awsCredentials(env, { clock, log }),
    clock,
    log,
  });
}

/** Makes what is missing; a volume that is there keeps its size, whatever the settings say. */
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

/** Never rejects: it is a help against rollbacks, and not worth a server. */
async function noteSeen(seen: Seen, database: Database, log: Log): Promise<void> {
  const { epoch, manifest } = database.status();
  if (database.readOnly) return;
  await seen.note(epoch, manifest).catch((error: unknown) => {
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

/** Since when the store has failed, and with what; undefined while it answers. */
function outageOf({ health }: RetryingStore, clock: Clock) {
  const { failing, sinceMs, consecutiveFailures, lastError } = health.status();
  if (!failing || sinceMs === undefined) return undefined;
  const seconds = (clock.monotonicMs() - sinceMs) / 1000;
  return { seconds, failures: consecutiveFailures, error: lastError?.message ?? '' };
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
  { clock, rng, log }: DaemonComponents,
): Promise<DiskCache | undefined> {
  if (cacheDiskBytes === 0) return undefined;
  const where = { directory: join(stateDir, 'cache'), budgetBytes: cacheDiskBytes };
  return openDiskCache({ disk: nodeDisk, clock, rng, log }, where);
}

async function ensureVolumes(
  volumes: Volumes,
  wanted: readonly VolumeSetting[],
  log: Log,
): Promise<void> {
  const present = new Map(volumes.list().map((one) => [one.name, one.sizeBytes]));
  for (const { name, sizeBytes } of wanted) {
    const found = present.get(name);
    if (found === undefined) await volumes.create(name, sizeBytes);
    else if (found !== sizeBytes) {
      const hint = 'it keeps its size: use "varve volume resize"';
      log.warn('volume.size.differs', { volume: name, sizeBytes: found, wanted: sizeBytes, hint });
    }
  }
}

function databaseSource(database: Database): DatabaseSource {
  return {
    barrier: () => database.storeBarrier(),
    get roots() {
      return database.roots;
    },
    collect: (onProgress) => database.collect(onProgress),
    status() {
      const status = database.status();
      const { memory, disk } = status.cache;
      const none = { budgetBytes: 0, bytes: 0 };
      const diskCache = disk === undefined ? none : { ...disk, failed: disk.failed ? 1 : 0 };
      return { ...status, cache: { memory: { ...memory }, disk: diskCache } };
    },
  };
}

/** One core is left to the thread that serves. */
function sealerThreads(): number {
  return Math.max(1, Math.min(SEALER_THREADS_MAX, availableParallelism() - 1));
}

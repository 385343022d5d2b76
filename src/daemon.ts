// The composition root of the server: builds its components from settings.
//
//   lock the state directory
//   opened-store.ts    url → directory | s3 | memory, metered (real requests), retried
//   opened-branch.ts   passphrase → data key → sealers → database
//   here               volumes
//   faces.ts           NBD listeners, admin.sock, HTTP
//
// What was opened is closed in reverse: faces stop taking requests, the database makes everything
// durable, then the store and the lock go. Whatever fails on the way up is closed the same way.

import { join } from 'node:path';
import { messageOf, StorageError } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { Settings, VolumeSetting } from './cli/settings.ts';
import { lockStateDir } from './cli/state-dir.ts';
import type { Database } from './engine/db.ts';
import { type Face, loadWires, openFaces } from './faces.ts';
import { type BranchComponents, openBranch, unlockStore } from './opened-branch.ts';
import { openStore, type StoreComponents } from './opened-store.ts';
import { answersAt } from './server/http/admin.ts';
import type { HandoverSource, UpgradeReport } from './server/handover/predecessor.ts';
import type { Legacy, Succession } from './server/handover/successor.ts';
import type { NbdServer } from './server/nbd/server.ts';
import { openVolumes, type Volumes } from './volume/volumes.ts';

/** What is fetched ahead of one sequential reader: a few objects' latency at full bandwidth. */
const READ_AHEAD_BYTES = 4 * 1024 * 1024;

export interface DaemonComponents extends StoreComponents, BranchComponents {
  /** Asked once the state directory is ours. */
  readonly passphrase: () => Promise<string>;
  readonly version: string;
  /** Replaces this process; asked for over the admin socket. */
  readonly upgrade?: (onProgress: (what: string) => void) => Promise<UpgradeReport>;
  /** Of a process that replaces another. */
  readonly succession?: Succession | undefined;
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

/** Resolves when every face listens. */
export async function startDaemon(
  settings: Settings,
  components: DaemonComponents,
): Promise<Daemon> {
  const { log, progress, succession } = components;
  await using rising = new AsyncDisposableStack();
  const wires = await loadWires(settings, log);
  const adminSocket = join(settings.stateDir, 'admin.sock');
  const lockState = async (): Promise<void> => {
    const lock = await lockStateDir(settings.stateDir, () => answersAt(adminSocket));
    rising.defer(() => lock.release());
  };
  if (succession === undefined) await lockState();

  const opened = await openStore(settings, components, rising);
  const passphrase = await components.passphrase();
  const unlocked = await unlockStore(opened.store, passphrase, log, rising);
  const { storeId } = unlocked.root.format;
  const serves = JSON.stringify([storeId, settings.branch, settings.snapshot]);
  const legacy = await succession?.takeOver(components.version, serves);
  if (legacy !== undefined) await lockState();
  rising.defer(() => progress.end());
  const { database, writeVerifier } = await openBranch(settings, components, unlocked, rising);
  checkSuccession(legacy, database);

  const volumes = await openVolumes(database, { readAheadBytes: READ_AHEAD_BYTES });
  database.onRecords(() => volumes.reload());
  if (!settings.readOnly) await ensureVolumes(volumes, settings.volumes, log);
  // A face that answers the request for an upgrade cannot wait for its end.
  let releasing = false;
  async function untilClosed(closed: Promise<void>): Promise<void> {
    if (!releasing) return closed;
    closed.catch((error: unknown) => log.warn('face.close.failed', { error: messageOf(error) }));
  }
  const { faces, nbd } = await openFaces(
    settings,
    {
      ...components,
      opened,
      database,
      writeVerifier,
      volumes,
      wires,
      adminSocket,
      legacy,
      untilClosed,
    },
    rising,
  );
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

/** Makes what is missing; a volume that is there keeps its size, whatever the settings say. */
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

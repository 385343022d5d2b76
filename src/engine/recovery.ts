// Taking a branch over: from what lies in the store to a tree in memory and the right to write.
//
//   1. Read the highest manifest.
//   2. Writer: publish the next one with a higher epoch. Who loses that race starts again: of two
//      that open at once, both go on, and step 4 decides.
//   3. Replay the log from where the manifest says.
//   4. Writer: PUT-if-absent a fence at the first missing number. If something is there by now, the
//      deposed writer is alive and faster: PUT fences at a stretch of numbers at once, replay what
//      came before the lowest that stuck, and go on behind that one.
//
// Why the deposed writer cannot acknowledge anything after step 4: a barrier waits for every number
// up to its own, and the fence holds one that the deposed writer never got. Why it cannot disturb
// later either: its numbers under way lie less than LOG_WINDOW beyond the last it got, and the
// fence makes the log go on past those, and past the other fences of its stretch. No clock is
// involved.

import { assert } from '../base/assert.ts';
import type { Log } from '../base/log.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { FrameKind, sealedFrameBytesMax, sealFrame } from '../codec/frame.ts';
import type { Keyring } from '../codec/keyring.ts';
import { SALT_BYTES, type CipherName } from '../codec/types.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { FOOTER_BYTES, writeFooter } from './format/log-object.ts';
import { logName } from './format/names.ts';
import { encodeFence, forEachChunk, RECORD_FENCE } from './format/records.ts';
import { LOG_WINDOW } from './log/uploads.ts';
import { asWriter, throwIfDeposed } from './manifest/deposed.ts';
import { replayLog, type ReplayedCommit, type ReplayPosition } from './log/replay.ts';
import { admitUnjournaled } from './journal/admit.ts';
import type { JournalName, Manifest } from './manifest/manifest.ts';
import type { ManifestAt, ManifestChain } from './manifest/manifest-chain.ts';
import type { Memtable } from './memtable/memtable.ts';

export interface RecoveryComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly rng: Rng;
  readonly log: Log;
  readonly manifests: ManifestChain;
}

export interface RecoveryOptions {
  readonly branch: string;
  readonly readOnly: boolean;
  readonly cipher: CipherName;
  readonly memtable: Memtable;
  /**
   * Asked before an epoch is claimed, with the newest manifest: whether this process may write the
   * branch (RFC 0004). What it throws ends the recovery; it gives the journal to go on naming.
   */
  readonly admit?: ((manifest: Manifest, number: number) => JournalName | undefined) | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Recovered {
  readonly epoch: number;
  /** With all fences up to now, which the stored one may lack. */
  readonly root: ManifestAt;
  readonly position: ReplayPosition;
}

/**
 * Fills the memtable with what the log has past the manifest. `fenced` when a newer writer is at
 * it.
 */
export async function recover(
  components: RecoveryComponents,
  options: RecoveryOptions,
): Promise<Recovered> {
  const { manifests } = components;
  if (options.readOnly) return replayFrom(components, options, await manifests.load());
  const root = await claimEpoch(manifests, options.admit ?? admitUnjournaled);
  const reign = { newest: () => root.number, epoch: root.manifest.epoch };
  return asWriter(manifests, reign, async () => {
    const recovered = await replayFrom(components, options, root);
    // The first missing number may be one that a successor has deleted. It does so only behind a
    // claim of its own: if there is none by the time that our fence is there, the fence counts.
    await throwIfDeposed(manifests, reign, 'open');
    return recovered;
  });
}

/** Steps 3 and 4. */
async function replayFrom(
  components: RecoveryComponents,
  options: RecoveryOptions,
  root: ManifestAt,
): Promise<Recovered> {
  const { epoch, logNumber, nextSegment, logEpoch } = root.manifest;
  const ownEpoch = options.readOnly ? Number.MAX_SAFE_INTEGER : epoch;
  const position: ReplayPosition = { logNumber, nextSegment, epoch: logEpoch };
  const replayed = { objects: 0 };
  const fences = new Set(root.manifest.fences);
  const replay = (): Promise<void> =>
    replayLog(
      {
        ...components,
        branch: options.branch,
        ownEpoch,
        apply: (commit) => {
          replayed.objects += 1;
          applyCommit(options.memtable, commit);
        },
        onFence: (number) => fences.add(number),
        onProgress: options.onProgress,
      },
      position,
    );
  await replay();
  if (!options.readOnly) {
    if (await putFence(components, options, position.logNumber, epoch)) {
      fences.add(position.logNumber);
      position.logNumber += LOG_WINDOW;
      position.epoch = epoch;
    }
    while (position.epoch !== epoch) {
      await putFences(components, options, position.logNumber, epoch);
      // Applies what the deposed writer was faster with; our lowest fence, if one stuck, ends that.
      await replay();
    }
  }
  components.log.info('branch.recovered', {
    epoch,
    log: position.logNumber,
    objects: replayed.objects,
  });
  const manifest = { ...root.manifest, fences: [...fences].sort((a, b) => a - b) };
  return { epoch, root: { ...root, manifest }, position };
}

/** Step 2: the manifest as it was, with an epoch that no one has had. */
async function claimEpoch(
  manifests: ManifestChain,
  admit: (manifest: Manifest, number: number) => JournalName | undefined,
): Promise<ManifestAt> {
  for (;;) {
    const { number, manifest } = await manifests.load();
    const journal = admit(manifest, number);
    const own = number + 1;
    const claims = [...manifest.claims, own];
    const claimed = { ...manifest, epoch: manifest.epoch + 1, claims, journal };
    try {
      await manifests.publish(own, claimed, 'open');
      // A number below the highest may be free again, because its manifest was replaced and deleted
      // while we were on our way: what has landed there is no claim.
      if ((await manifests.highest('open', own)) <= own) return { number: own, manifest: claimed };
    } catch (error) {
      if (!isStorageError(error, 'exists')) throw error;
    }
  }
}

export function applyCommit(memtable: Memtable, { name, commit, table }: ReplayedCommit): void {
  forEachChunk(commit, name, (inode, chunk, map) => memtable.put(inode, chunk, map));
  for (const [key, value] of commit.metas) memtable.putMeta(key, value?.slice());
  memtable.putSegment(commit.segment, table);
}

/** Tried at once when the first fence lost its race. All lie before where the lowest resumes. */
const FENCES = 32;

/** Resolves when each fence of a stretch is known to have stuck or to have come too late. */
async function putFences(
  components: RecoveryComponents,
  options: RecoveryOptions,
  first: number,
  epoch: number,
): Promise<void> {
  assert(FENCES <= LOG_WINDOW, 'the log goes on behind every fence of a stretch');
  const puts: Promise<boolean>[] = [];
  for (let i = 0; i < FENCES; i++) puts.push(putFence(components, options, first + i, epoch));
  for (const result of await Promise.allSettled(puts)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

/** Step 4, at one number. False when something is there. */
async function putFence(
  { store, keyring, rng }: RecoveryComponents,
  { branch, cipher }: RecoveryOptions,
  logNumber: number,
  epoch: number,
): Promise<boolean> {
  const record = encodeFence({ type: RECORD_FENCE, epoch, resumeAt: logNumber + LOG_WINDOW });
  const name = logName(branch, logNumber);
  const salt = rng.bytes(SALT_BYTES);
  const seal = keyring.sealFor(name, salt, cipher);
  const object = new Uint8Array(sealedFrameBytesMax(record.length) + FOOTER_BYTES);
  const recordBytes = sealFrame(seal, FrameKind.records, 0, 'none', record, object, 0);
  const objectBytes = recordBytes + FOOTER_BYTES;
  writeFooter(object, recordBytes, { cipher, salt, recordBytes, objectBytes }, seal);
  try {
    await store.putIfAbsent(name, [object.subarray(0, objectBytes)], { cause: 'open' });
  } catch (error) {
    if (isStorageError(error, 'exists')) return false;
    throw error;
  }
  return true;
}

/** What a read-only server answers to every change. */
export function readOnlyError(): StorageError {
  return new StorageError('readOnly', 'the branch is served read-only');
}

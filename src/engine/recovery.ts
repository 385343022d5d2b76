// Taking a branch over: from what lies in the store to a tree in memory and the right to write.
//
//   1. Read the highest manifest.
//   2. Writer: publish the next one with a higher epoch. Who loses that race starts again: of two
//      that open at once, both go on, and step 4 decides.
//   3. Replay the log from where the manifest says.
//   4. Writer: PUT-if-absent a fence at the first missing number. If something is there by now, the
//      deposed writer was faster: replay it and try the next number, until the fence sticks.
//
// Why the deposed writer cannot acknowledge anything after step 4: a barrier waits for every number
// up to its own, and the fence holds one that the deposed writer never got. Why it cannot disturb
// later either: its numbers under way lie less than LOG_WINDOW beyond the last it got, and the
// fence makes the log go on past those. No clock is involved.

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
import { LOG_WINDOW } from './log/commit-log.ts';
import { replayLog, type ReplayedCommit, type ReplayPosition } from './log/replay.ts';
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
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Recovered {
  readonly epoch: number;
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
  const { log } = components;
  const root = options.readOnly
    ? await components.manifests.load()
    : await claimEpoch(components.manifests);
  const { epoch, logNumber, nextSegment, logEpoch } = root.manifest;
  const ownEpoch = options.readOnly ? Number.MAX_SAFE_INTEGER : epoch;
  const position: ReplayPosition = { logNumber, nextSegment, epoch: logEpoch };
  const replayed = { objects: 0 };
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
        onProgress: options.onProgress,
      },
      position,
    );
  await replay();
  if (!options.readOnly) {
    while (!(await putFence(components, options, position, epoch))) await replay();
  }
  log.info('branch.recovered', { epoch, log: position.logNumber, objects: replayed.objects });
  return { epoch, root, position };
}

/** Step 2: the manifest as it was, with an epoch that no one has had. */
async function claimEpoch(manifests: ManifestChain): Promise<ManifestAt> {
  for (;;) {
    const { number, manifest } = await manifests.load();
    const claimed = { ...manifest, epoch: manifest.epoch + 1 };
    try {
      await manifests.publish(number + 1, claimed, 'open');
      return { number: number + 1, manifest: claimed };
    } catch (error) {
      if (!isStorageError(error, 'exists')) throw error;
    }
  }
}

function applyCommit(memtable: Memtable, { name, commit, table }: ReplayedCommit): void {
  forEachChunk(commit, name, (inode, chunk, map) => memtable.put(inode, chunk, map));
  for (const [key, value] of commit.metas) memtable.putMeta(key, value?.slice());
  memtable.putSegment(commit.segment, table);
}

/** Step 4. On success moves the position to where the log goes on. */
async function putFence(
  { store, keyring, rng }: RecoveryComponents,
  { branch, cipher }: RecoveryOptions,
  position: ReplayPosition,
  epoch: number,
): Promise<boolean> {
  const resumeAt = position.logNumber + LOG_WINDOW;
  const record = encodeFence({ type: RECORD_FENCE, epoch, resumeAt });
  const name = logName(branch, position.logNumber);
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
  position.logNumber = resumeAt;
  position.epoch = epoch;
  return true;
}

/** What a read-only server answers to every change. */
export function readOnlyError(): StorageError {
  return new StorageError('readOnly', 'the branch is served read-only');
}

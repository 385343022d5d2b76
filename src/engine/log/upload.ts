// One closed segment's way to the store: sealed, then offered until it is there.

import { isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { FrameTable } from '../format/frame-table.ts';
import type { CommitLogComponents } from './options.ts';
import {
  type ClosedSegment,
  sealSegment,
  type SealedSegment,
  type SealSettings,
} from './seal-segment.ts';

/**
 * Pause before a segment whose upload failed is tried again. The retry wrapper has its own, shorter
 * ones.
 */
const REUPLOAD_DELAY_MS = 1000;

/**
 * Resolves once the segment's object is in the store, however long that takes; `onFailure` hears of
 * each try that did not succeed. Rejects with `fenced` when another writer's object has its name,
 * and when `signal` ends it. `sealedBefore` says that it is
 * sealed already.
 */
export async function uploadSegment(
  components: CommitLogComponents,
  settings: SealSettings,
  closed: ClosedSegment,
  sealedBefore: SealedSegment | undefined,
  signal: AbortSignal,
  onFailure: (error: StorageError) => void,
): Promise<FrameTable> {
  const { store, clock, log } = components;
  let sealed = sealedBefore;
  for (;;) {
    try {
      // Sealed once: a PUT that is tried again must offer the very same bytes, or it could not know
      // its own.
      sealed ??= await sealSegment(components, settings, closed);
      signal.throwIfAborted();
      await store.putIfAbsent(closed.name, sealed.body, { cause: 'barrier', signal });
      return sealed.table;
    } catch (error) {
      signal.throwIfAborted();
      if (isStorageError(error, 'exists')) throw fencedError(closed);
      if (!isStorageError(error)) throw error;
      onFailure(error);
      log.warn('log.upload.failed', {
        segment: closed.segment.id,
        error: messageOf(error),
        retryMs: REUPLOAD_DELAY_MS,
      });
    }
    await clock.sleep(REUPLOAD_DELAY_MS, signal);
  }
}

export function fencedError({ name, epoch }: ClosedSegment): StorageError {
  return new StorageError(
    'fenced',
    `another writer has taken the branch over: ${name} is not ours (we are epoch ${epoch}); ` +
      'nothing more is acknowledged',
  );
}

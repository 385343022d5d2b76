// A deposed writer that does not know it yet may find objects missing: its successor has deleted
// them. That must not be taken for damage.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { RequestCause } from '../../objectstore/object-store.ts';
import type { Manifest } from './manifest.ts';
import type { ManifestChain } from './manifest-chain.ts';

export interface Reign {
  /** Of the newest manifest that the writer knows; asked again when that may have changed. */
  readonly newest: () => number;
  readonly epoch: number;
}

/** `fenced` when the branch has a manifest of a writer with a higher epoch. */
export async function throwIfDeposed(
  manifests: ManifestChain,
  { newest, epoch }: Reign,
  cause: RequestCause,
): Promise<void> {
  let after = newest();
  for (;;) {
    const highest = await manifests.highest(cause, after);
    if (highest <= after) return;
    const newer = await loadIfThere(manifests, highest, cause);
    // One that is gone was replaced since the listing: by ourselves, if we have got so far by now.
    if (newer === undefined ? highest > newest() : newer.epoch > epoch) break;
    // Ours, or a successor's was there when we looked and its number is ours since: look past it.
    after = highest;
  }
  throw new StorageError('fenced', `another writer has opened the branch since (we are ${epoch})`);
}

async function loadIfThere(
  manifests: ManifestChain,
  number: number,
  cause: RequestCause,
): Promise<Manifest | undefined> {
  try {
    return await manifests.loadNumber(number, cause);
  } catch (error) {
    if (isStorageError(error, 'notFound')) return undefined;
    throw error;
  }
}

/** Runs a writer's `work`; what looks like damage because a successor deleted it is `fenced`. */
export async function asWriter<T>(
  manifests: ManifestChain,
  reign: Reign,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isStorageError(error, 'corrupt')) await throwIfDeposed(manifests, reign, 'open');
    throw error;
  }
}

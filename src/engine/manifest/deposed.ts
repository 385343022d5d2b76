// A deposed writer that does not know it yet may find objects missing: its successor has deleted
// them. That must not be taken for damage.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { RequestCause } from '../../objectstore/object-store.ts';
import type { ManifestChain } from './manifest-chain.ts';

export interface Reign {
  /** Of the newest manifest that the writer knows. */
  readonly number: number;
  readonly epoch: number;
}

/** `fenced` when the branch has a manifest of a writer with a higher epoch. */
export async function throwIfDeposed(
  manifests: ManifestChain,
  { number, epoch }: Reign,
  cause: RequestCause,
): Promise<void> {
  const highest = await manifests.highest(cause, number);
  if (highest <= number) return;
  // Its successor may have been replaced since the listing: then there is one all the more.
  const newer = await manifests.loadNumber(highest, cause).catch((error: unknown) => {
    if (!isStorageError(error, 'notFound')) throw error;
  });
  if (newer !== undefined && newer.epoch <= epoch) return;
  throw new StorageError('fenced', `another writer has opened the branch since (we are ${epoch})`);
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

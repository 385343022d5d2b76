// A root of a branch under a lease of our own: the newest manifest, or the one that a snapshot
// names.
//
//   1. Read the newest manifest.
//   2. Put a lease on the root.
//   3. Look whether there is a newer manifest by now. None: a writer that publishes one from here
//      on lists leases after that, and sees ours. For a snapshot it is enough that the newest
//      manifest still lists it. Else give the lease back and begin again.
//
// Step 3 must come behind step 2: before it, a writer may have listed leases and be at work
// deleting.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Manifest } from '../manifest/manifest.ts';
import type { ManifestAt, ManifestChain } from '../manifest/manifest-chain.ts';
import { Lease, type LeaseComponents } from './lease.ts';

/** Of one try to get hold of a branch whose writer publishes faster than we read. */
const ATTEMPTS = 20;

export interface HeldRootComponents extends LeaseComponents {
  readonly manifests: ManifestChain;
}

export interface HeldRootOptions {
  /** Branch id. */
  readonly branch: string;
  /** Name of the snapshot to hold instead of the newest manifest. */
  readonly snapshot: string | undefined;
}

export interface HeldRoot extends ManifestAt {
  readonly lease: Lease;
  /**
   * The newest manifest when the lease came to hold: no newer one means that all of it is there.
   */
  readonly newest: number;
}

/** `notFound` for a branch that was deleted, and for a snapshot that is not there. */
export async function holdRoot(
  components: HeldRootComponents,
  options: HeldRootOptions,
): Promise<HeldRoot> {
  const { manifests } = components;
  const { snapshot } = options;
  let head = await newestManifest(manifests);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const number = rootOf(head, snapshot);
    const lease = await takeLease(components, options, number);
    try {
      const before = head.number;
      if ((await manifests.highest('open', before)) > before)
        head = await newestManifest(manifests);
      if (rootOf(head, snapshot) === number) {
        const isHead = number === head.number;
        const manifest = isHead ? head.manifest : await loadKept(manifests, number);
        return { number, manifest, lease, newest: head.number };
      }
    } catch (error) {
      await lease.release();
      throw error;
    }
    await lease.release();
  }
  throw busy();
}

/** The manifest that the reader asked for, by its number. */
function rootOf({ number, manifest }: ManifestAt, snapshot: string | undefined): number {
  if (snapshot === undefined) return number;
  const entry = manifest.snapshots.find((one) => one.name === snapshot);
  if (entry !== undefined) return entry.manifest;
  const known = manifest.snapshots.map((one) => one.name).join(', ') || 'none';
  throw new StorageError('notFound', `there is no snapshot "${snapshot}"; there is: ${known}`);
}

/** As `ManifestChain.load`, but a race that was lost too often is no missing branch. */
async function newestManifest(manifests: ManifestChain): Promise<ManifestAt> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const number = await manifests.highest('open');
    if (number === 0) {
      throw new StorageError('corrupt', 'the branch has no manifest; restore its objects');
    }
    try {
      const manifest = await manifests.loadNumber(number, 'open');
      if (!manifest.deleted) return { number, manifest };
    } catch (error) {
      if (!isStorageError(error, 'notFound')) throw error;
      continue;
    }
    throw new StorageError('notFound', 'the branch was deleted');
  }
  throw busy();
}

async function loadKept(manifests: ManifestChain, number: number): Promise<Manifest> {
  try {
    return await manifests.loadNumber(number, 'open');
  } catch (error) {
    if (!isStorageError(error, 'notFound')) throw error;
    throw new StorageError('corrupt', `manifest ${number} of a snapshot is missing`, {
      cause: error,
    });
  }
}

async function takeLease(
  components: HeldRootComponents,
  { branch, snapshot }: HeldRootOptions,
  manifest: number,
): Promise<Lease> {
  const holder = snapshot === undefined ? 'read-only server' : `server of snapshot "${snapshot}"`;
  try {
    return await Lease.take(components, { branch, manifest, holder, log: snapshot === undefined });
  } catch (error) {
    if (!isStorageError(error, 'denied')) throw error;
    throw new StorageError(
      'denied',
      'the store refuses the lease of a read-only server: let it put and delete objects below ' +
        `branches/${branch}/readers/`,
      { cause: error },
    );
  }
}

function busy(): StorageError {
  return new StorageError('unavailable', 'the branch changes faster than it can be opened');
}

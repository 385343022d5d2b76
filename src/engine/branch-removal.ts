// Deleting a branch: it is taken over as a writer would, gets a last manifest that says so, leaves
// the index, and its objects go. Claims, fences and the last manifest stay: a deposed writer that
// wakes must still meet them (RFC 0003). Cut short at any point, it is taken up by doing it again.

import { silentLog } from '../base/log.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { changeBranchIndex, readBranchIndex } from './branch-index.ts';
import { branchPrefix, logName, manifestName } from './format/names.ts';
import { admitAbandoned } from './journal/admit.ts';
import type { Lineage } from './manifest/lineage.ts';
import { FIRST_MANIFEST, type Manifest } from './manifest/manifest.ts';
import { createManifestChain, type ManifestChain } from './manifest/manifest-chain.ts';
import { Memtable } from './memtable/memtable.ts';
import { recover } from './recovery.ts';
import type { StoreFormat } from './store-root.ts';

export interface BranchRemovalComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly rng: Rng;
  readonly format: StoreFormat;
  readonly lineage: Lineage;
}

const DELETES_MAX = 16;
const OPTIONS = { cause: 'collection' } as const;

/** Of the store, not of the branch that `lineage` is of. */
export async function deleteBranch(
  components: BranchRemovalComponents,
  name: string,
): Promise<void> {
  const { store, keyring, lineage } = components;
  const { branches } = await readBranchIndex(store, keyring, 'admin');
  const id = branches.get(name);
  if (id === undefined) {
    const known = [...branches.keys()].join(', ');
    throw new StorageError('notFound', `there is no branch "${name}"; there is: ${known}`);
  }
  if (id === lineage.own) {
    throw new StorageError('invalid', `branch "${name}" is the one that is served`);
  }
  await removeBranch(components, name, id);
}

/** The same by its id: `name` need not be in the index. */
export async function removeBranch(
  components: BranchRemovalComponents,
  name: string,
  id: string,
): Promise<void> {
  const { store, keyring, rng } = components;
  const chain = createManifestChain(store, keyring, rng, id);
  if (!(await isBranchGone(chain))) await endBranch(components, name, id, chain);
  const number = await chain.highest('admin');
  const last = await chain.loadNumber(number, 'admin');
  await changeBranchIndex(store, keyring, rng, (known) => {
    if (known.get(name) !== id) return undefined;
    return new Map([...known].filter(([one]) => one !== name));
  });
  const kept = new Set([number, ...last.claims].map((one) => manifestName(id, one)));
  for (const fence of last.fences) kept.add(logName(id, fence));
  for await (const page of store.list(branchPrefix(id), OPTIONS)) {
    const gone = page.filter(({ key }) => !kept.has(key));
    for (let at = 0; at < gone.length; at += DELETES_MAX) {
      const part = gone.slice(at, at + DELETES_MAX);
      await Promise.all(part.map(({ key }) => store.delete(key, OPTIONS)));
    }
  }
}

/** Deposes whoever writes the branch and publishes its last manifest. */
async function endBranch(
  components: BranchRemovalComponents,
  name: string,
  branch: string,
  manifests: ManifestChain,
): Promise<void> {
  const { store, keyring, rng, format } = components;
  const { manifest: before } = await manifests.load();
  for (const point of before.points) {
    if (await isBranchGone(createManifestChain(store, keyring, rng, point.branch))) {
      await removeBranch(components, point.name, point.branch);
      continue;
    }
    throw new StorageError('invalid', `branch "${point.name}" stands on branch "${name}"`);
  }
  const recovered = await recover(
    { store, keyring, rng, log: silentLog, manifests },
    {
      branch,
      readOnly: false,
      cipher: format.cipher,
      memtable: new Memtable(),
      admit: admitAbandoned,
    },
  );
  const { number, manifest } = recovered.root;
  const { epoch, claims, fences, points } = manifest;
  const known = new Set(before.points.map((point) => point.branch));
  const fresh = points.find((point) => !known.has(point.branch));
  if (fresh !== undefined) {
    throw new StorageError('invalid', `branch "${fresh.name}" stands on branch "${name}"`);
  }
  const last: Manifest = { ...FIRST_MANIFEST, epoch, claims, fences, deleted: true };
  await manifests.publish(number + 1, last, 'admin');
}

/**
 * Whether a branch was deleted. One that never got a first manifest gets a last one in its place,
 * so that whoever was creating it finds out.
 */
export async function isBranchGone(chain: ManifestChain): Promise<boolean> {
  for (;;) {
    try {
      const number = await chain.highest('admin');
      if (number > 0) return (await chain.loadNumber(number, 'admin')).deleted;
      // Looked at again: the child may have had manifests, and replaced its first, since the
      // listing.
      await chain.publish(1, { ...FIRST_MANIFEST, deleted: true }, 'admin');
    } catch (error) {
      // Someone was faster, or the manifest was replaced between listing and reading: look again.
      if (!isStorageError(error, 'exists') && !isStorageError(error, 'notFound')) throw error;
    }
  }
}

// Branches of the one that is served: creating one, and what there is (RFC 0003). Called in turn by
// roots.ts; branch-removal.ts deletes.
//
//   creating   1. A branch point in a manifest of ours: from here on everything that it reaches is
//                 kept.
//              2. The child's first manifest.
//              3. The index: the child has a name. After a crash before that children.ts names it,
//                 or takes it away.

import type { Clock } from '../base/clock.ts';
import { isStorageError, StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { changeBranchIndex, newBranchId } from './branch-index.ts';
import type { Lineage } from './manifest/lineage.ts';
import { FIRST_MANIFEST, type Manifest } from './manifest/manifest.ts';
import { createManifestChain, type ManifestChain } from './manifest/manifest-chain.ts';
import type { RootSpace } from './space.ts';
import type { Writer } from './writer.ts';

export interface BranchInfo {
  readonly name: string;
  readonly id: string;
  /** Being served by this process. */
  readonly served: boolean;
  /** The branch that it was created from, if that one is still there. */
  readonly parent: string | undefined;
  /** For a child of the branch that is served: what of it only the child keeps. */
  readonly keptBytes: number | undefined;
}

export interface BranchesComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly lineage: Lineage;
  readonly manifests: ManifestChain;
  readonly writer: Writer;
}

/**
 * A branch from the manifest with number `source`, or from the state as it is now. `branches` is
 * the index, which does not have `name`; `exists` when somebody else was faster.
 */
export async function createBranch(
  components: BranchesComponents,
  name: string,
  source: number | undefined,
  branches: ReadonlyMap<string, string>,
): Promise<BranchInfo> {
  const { store, keyring, rng, clock, lineage, manifests, writer } = components;
  const id = newBranchId(rng);
  if (source === undefined) await writer.flushAll();
  const createdUnixMs = clock.unixMs();
  let base = 0;
  await writer.incumbent.publish(
    ({ points }, number) => {
      base = source ?? number;
      return { points: [...points, { name, branch: id, manifest: base, createdUnixMs }] };
    },
    () => {},
  );
  const root = await manifests.loadNumber(base, 'admin');
  const { epoch, nextSegment, runs } = root;
  const { manifest } = writer.publisher.current;
  const parents = [...manifest.lineage, { branch: lineage.own, nextSegment, epoch }];
  const first = { ...FIRST_MANIFEST, epoch, logEpoch: epoch, nextSegment, runs };
  const child = createManifestChain(store, keyring, rng, id);
  await publishFirst(child, { ...first, lineage: parents }, name);
  await changeBranchIndex(store, keyring, rng, (known) => {
    if (known.get(name) === id) return undefined;
    // Someone else was faster with the name. The child has no name then, and goes.
    if (known.has(name)) throw new StorageError('exists', `branch "${name}" exists`);
    return new Map([...known, [name, id]]);
  });
  const parent = [...branches].find(([, known]) => known === lineage.own)?.[0];
  return { name, id, served: false, parent, keptBytes: 0 };
}

/** Only who takes the child for gone puts something in this place (`isBranchGone`). */
async function publishFirst(child: ManifestChain, first: Manifest, name: string): Promise<void> {
  try {
    await child.publish(1, first, 'admin');
  } catch (error) {
    if (!isStorageError(error, 'exists')) throw error;
    throw new StorageError(
      'aborted',
      `another server took over, or is deleting, the branch that "${name}" was to stand on`,
      { cause: error },
    );
  }
}

/** All of the index. `served` is our manifest, `spaces` what each of its branch points keeps. */
export async function listBranches(
  { store, keyring, rng, lineage }: BranchesComponents,
  branches: ReadonlyMap<string, string>,
  served: Manifest,
  spaces: readonly RootSpace[],
): Promise<readonly BranchInfo[]> {
  const nameOf = new Map([...branches].map(([name, id]) => [id, name]));
  const infos: BranchInfo[] = [];
  for (const [name, id] of branches) {
    const chain = createManifestChain(store, keyring, rng, id);
    const loaded = id === lineage.own ? undefined : await chain.load().catch(unlessGone);
    const manifest = id === lineage.own ? served : loaded?.manifest;
    const parentId = manifest?.lineage.at(-1)?.branch;
    const point = served.points.findIndex((one) => one.branch === id);
    infos.push({
      name,
      id,
      served: id === lineage.own,
      parent: parentId === undefined ? undefined : nameOf.get(parentId),
      keptBytes: point < 0 ? undefined : spaces[point]!.ownBytes,
    });
  }
  return infos;
}

function unlessGone(error: unknown): undefined {
  if (!isStorageError(error, 'notFound') && !isStorageError(error, 'corrupt')) throw error;
  return undefined;
}

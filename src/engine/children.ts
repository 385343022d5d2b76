// The children that a branch's points are kept for: which of them are no more, and what a crash
// left undone while one was created or deleted (RFC 0003).

import { changeBranchIndex, readBranchIndex } from './branch-index.ts';
import { type BranchRemovalComponents, isBranchGone, removeBranch } from './branch-removal.ts';
import type { BranchPoint } from './manifest/manifest.ts';
import { createManifestChain } from './manifest/manifest-chain.ts';

/** Ids of children that are gone, with nothing of theirs left: their points may be dropped. */
export async function findGone(
  components: BranchRemovalComponents,
  points: readonly BranchPoint[],
): Promise<ReadonlySet<string>> {
  const { store, keyring, rng } = components;
  const { branches } = await readBranchIndex(store, keyring, 'admin');
  const named = new Set(branches.values());
  const gone = new Set<string>();
  for (const point of points) {
    const chain = createManifestChain(store, keyring, rng, point.branch);
    if (await isBranchGone(chain)) {
      // Whoever deleted it may have been cut short.
      await removeBranch(components, point.name, point.branch);
      gone.add(point.branch);
    } else if (!named.has(point.branch) && !(await nameChild(components, point))) {
      gone.add(point.branch);
    }
  }
  return gone;
}

/**
 * A crash came between a child's first manifest and the index. Gives it its name; when that is
 * taken by now the child goes, and false is the answer.
 */
async function nameChild(
  components: BranchRemovalComponents,
  { name, branch }: BranchPoint,
): Promise<boolean> {
  const { store, keyring, rng } = components;
  let isNamed = true;
  await changeBranchIndex(store, keyring, rng, (known) => {
    isNamed = known.get(name) === branch || !known.has(name);
    return known.has(name) ? undefined : new Map([...known, [name, branch]]);
  });
  if (!isNamed) await removeBranch(components, name, branch);
  return isNamed;
}

// Getting hold of a view: a root under a lease, and all of it that is read ahead of clients.

import { isStorageError } from '../../base/errors.ts';
import type { ManifestChain } from '../manifest/manifest-chain.ts';
import type { HeldRoot } from './held-root.ts';
import { leaseLostError } from './lease.ts';
import type { View, ViewReader } from './view-reader.ts';

/** A root that fell to the writer while it was read is followed by a newer one. */
const MOVES_MAX = 5;

export interface TakeViewComponents {
  readonly manifests: ManifestChain;
  readonly views: ViewReader;
  /** The newest root, under a lease of its own. */
  readonly hold: () => Promise<HeldRoot>;
}

/** A view of the newest root. What a writer deleted meanwhile is looked for under the next root. */
export async function takeView(
  components: TakeViewComponents,
  { snapshot }: { readonly snapshot: boolean },
  from: View | undefined,
  first: HeldRoot | undefined,
  prepare: (view: View) => Promise<void>,
): Promise<View> {
  const { views, hold } = components;
  let root = first ?? (await hold());
  for (let move = 1; ; move++) {
    try {
      const view = snapshot ? views.openSnapshot(root) : await views.open(root, from);
      await prepare(view);
      if (root.lease.lost) throw leaseLostError();
      return view;
    } catch (error) {
      await root.lease.release();
      const another = isStorageError(error, 'corrupt') && (await isOutdated(components, root));
      if (!another || move === MOVES_MAX) throw error;
    }
    root = await hold();
  }
}

/** Whether there is a newer manifest: then there may be nothing left of what `root` reaches. */
export async function isOutdated(
  { manifests }: Pick<TakeViewComponents, 'manifests'>,
  { newest }: HeldRoot,
): Promise<boolean> {
  return (await manifests.highest('open', newest)) > newest;
}

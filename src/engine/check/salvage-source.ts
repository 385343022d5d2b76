// What is left of a branch whose manifests are lost or damaged: those that open, and what other
// branches say of it.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Rng } from '../../base/rng.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { type BranchIndex, readBranchIndex, readBranchIndexAt } from '../branch-index.ts';
import { BRANCH_INDEX_PREFIX, numberOf } from '../format/names.ts';
import { FIRST_MANIFEST, type Manifest } from '../manifest/manifest.ts';
import { createManifestChain, type ManifestAt } from '../manifest/manifest-chain.ts';
import type { Inventory } from './inventory.ts';
import { isDamage } from './report.ts';

export interface SourceComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly rng: Rng;
}

export interface SalvageSource {
  readonly id: string;
  /** Manifests that open, by number. */
  readonly manifests: ReadonlyMap<number, Manifest>;
  /** The newest of them, or what the parent knows the branch began with. */
  readonly base: ManifestAt | undefined;
  /** Of all that are there, opened or not; 0 for none. */
  readonly highestManifest: number;
  /** Branches that stand on this one, by id, with their names. */
  readonly children: ReadonlyMap<string, string>;
}

export async function readSource(
  components: SourceComponents,
  inventory: Inventory,
  id: string,
  index: ReadonlyMap<string, string>,
): Promise<SalvageSource> {
  const manifests = await openManifests(components, inventory, id);
  const highestManifest = Math.max(0, ...inventory.branch(id).kinds.manifest.bytes.keys());
  const newest = Math.max(0, ...manifests.keys());
  let base = newest === 0 ? undefined : { number: newest, manifest: manifests.get(newest)! };
  const children = new Map<string, string>();
  const names = new Map([...index].map(([name, known]) => [known, name]));
  for (const other of inventory.branches.keys()) {
    if (other === id) continue;
    const theirs = await openManifests(components, inventory, other, 1);
    for (const manifest of theirs.values()) {
      if (manifest.deleted) continue;
      if (manifest.lineage.at(-1)?.branch === id) children.set(other, names.get(other) ?? other);
      base ??= await beginningOf(components, other, manifest, id);
    }
  }
  return { id, manifests, base, highestManifest, children };
}

/** As far as they open, newest first; at most `max`. */
async function openManifests(
  components: SourceComponents,
  inventory: Inventory,
  id: string,
  max = Infinity,
): Promise<Map<number, Manifest>> {
  const { store, keyring, rng } = components;
  const chain = createManifestChain(store, keyring, rng, id);
  const numbers = [...inventory.branch(id).kinds.manifest.bytes.keys()].sort((a, b) => b - a);
  const opened = new Map<number, Manifest>();
  for (const number of numbers) {
    if (opened.size >= max) break;
    try {
      opened.set(number, await chain.loadNumber(number, 'admin'));
    } catch (error) {
      if (!isDamage(error) && !isStorageError(error, 'notFound')) throw error;
    }
  }
  return opened;
}

/** The first manifest of a child, as its parent's branch point tells it. */
async function beginningOf(
  { store, keyring, rng }: SourceComponents,
  parent: string,
  { points }: Manifest,
  child: string,
): Promise<ManifestAt | undefined> {
  const point = points.find((one) => one.branch === child);
  if (point === undefined) return undefined;
  const chain = createManifestChain(store, keyring, rng, parent);
  try {
    const root = await chain.loadNumber(point.manifest, 'admin');
    const { epoch, nextSegment, runs } = root;
    const lineage = [...root.lineage, { branch: parent, nextSegment, epoch }];
    const manifest = { ...FIRST_MANIFEST, epoch, logEpoch: epoch, nextSegment, runs, lineage };
    return { number: 0, manifest };
  } catch (error) {
    if (!isDamage(error) && !isStorageError(error, 'notFound')) throw error;
    return undefined;
  }
}

/** The newest index that opens, under the number of the newest that is there. */
export async function rescueIndex(components: SourceComponents): Promise<BranchIndex> {
  const { store, keyring } = components;
  try {
    return await readBranchIndex(store, keyring, 'admin');
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  const numbers: number[] = [];
  for await (const page of store.list(BRANCH_INDEX_PREFIX, { cause: 'admin' })) {
    for (const { key } of page) numbers.push(numberOf(key) ?? 0);
  }
  const number = numbers.at(-1)!;
  for (const older of numbers.toReversed()) {
    try {
      return { number, branches: await readBranchIndexAt(store, keyring, older, 'admin') };
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }
  return { number, branches: new Map() };
}

/** The branch to salvage: by id or name, else the one with the most data. */
export function chooseSource(
  inventory: Inventory,
  index: ReadonlyMap<string, string>,
  from: string | undefined,
): string {
  const ids = [...inventory.branches.keys()];
  if (from !== undefined) {
    const id = index.get(from) ?? from;
    if (inventory.branches.has(id)) return id;
    const known = ids.join(', ') || 'none';
    throw new StorageError(
      'notFound',
      `the store has nothing of a branch "${from}"; it has: ${known}`,
    );
  }
  const bytesOf = (id: string): number => {
    const { log, data } = inventory.branch(id).kinds;
    let total = 0;
    for (const { bytes } of [log, data]) for (const size of bytes.values()) total += size;
    return total;
  };
  const [most] = ids.sort((a, b) => bytesOf(b) - bytesOf(a));
  if (most === undefined) throw new StorageError('notFound', 'the store holds no branch at all');
  return most;
}

// Checks one branch: its head with the log, then every snapshot and branch point, each under a
// lease, so that a server at work deletes nothing under the walk (RFC 0003).

import { ByteReader } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import type { Rng } from '../../base/rng.ts';
import { leaseLostError, Lease } from '../follow/lease.ts';
import { type HeldRoot, holdRoot } from '../follow/held-root.ts';
import { metaKey } from '../format/keys.ts';
import { logName, manifestName } from '../format/names.ts';
import { RECORD_FENCE } from '../format/records.ts';
import { openTail } from '../log/object-tail.ts';
import { Lineage } from '../manifest/lineage.ts';
import type { Manifest, SnapshotEntry } from '../manifest/manifest.ts';
import { createManifestChain, type ManifestChain } from '../manifest/manifest-chain.ts';
import { Memtable } from '../memtable/memtable.ts';
import { BlockCache } from '../table/block-cache.ts';
import { lookup, openRun, type Run } from '../table/run.ts';
import { TABLE_DEFAULTS } from '../table/settings.ts';
import { checkLog, type LogCheckComponents } from './log-check.ts';
import type { BranchCheck } from './report.ts';
import { checkRun, type RunDefects } from './run-check.ts';

/** Throws `corrupt` when the records of a root contradict one another. */
export type InspectRecords = (
  meta: (name: string) => Promise<Uint8Array | undefined>,
) => Promise<void>;

export interface BranchCheckComponents extends LogCheckComponents {
  readonly rng: Rng;
  readonly inspect: InspectRecords;
  /** Runs that were walked, by the names of their tables: roots and branches share them. */
  readonly walked: Map<string, RunDefects>;
}

export interface CheckedBranch extends BranchCheck {
  /** The newest manifest; undefined when it could not be read. */
  readonly head: Manifest | undefined;
  /** What a repair can mend in the head. */
  readonly defects: RunDefects;
}

const LOOKUP_CACHE_BYTES = 4 * 1024 * 1024;

export async function checkBranch(
  components: BranchCheckComponents,
  name: string,
  id: string,
): Promise<CheckedBranch> {
  const { findings, store, keyring, rng } = components;
  const before = findings.mark();
  const defects: RunDefects = { wrongCounts: 0, badSegments: new Set() };
  const manifests = createManifestChain(store, keyring, rng, id);
  findings.enter(name, 'head');
  let held: HeldRoot;
  try {
    held = await holdRoot({ ...components, manifests }, { branch: id, snapshot: undefined });
  } catch (error) {
    // Deleted since the index was read: nothing is wrong with that.
    const isGone = isStorageError(error, 'notFound');
    if (isGone) findings.note(`branch ${name} was deleted meanwhile`);
    else await headError(components, manifests, id, error);
    const errors = findings.errorCount - before.errorCount;
    return { name, id, manifest: 0, roots: 0, errors, head: undefined, defects };
  }
  const check = new RootsCheck(components, manifests, held.manifest, id);
  try {
    await check.head(held.number, defects);
    if (held.lease.lost) throw leaseLostError();
  } finally {
    await held.lease.release();
  }
  for (const [number, root] of keptRoots(held.manifest)) {
    findings.enter(name, root);
    await check.kept(number, defects);
  }
  findings.enter(name, undefined);
  await check.claimsAndFences();
  const errors = findings.errorCount - before.errorCount;
  const { number, manifest: head } = held;
  return { name, id, manifest: number, roots: check.roots, errors, head, defects };
}

async function headError(
  { findings }: BranchCheckComponents,
  manifests: ManifestChain,
  id: string,
  error: unknown,
): Promise<void> {
  const highest = await manifests.highest('admin');
  findings.caught(highest === 0 ? 'missing' : 'damaged', manifestName(id, highest), error);
}

/** Manifests that snapshots and branch points name, each with one of their names. */
function keptRoots({ snapshots, points }: Manifest): Map<number, string> {
  const named = (one: SnapshotEntry, what: string): [number, string] => [
    one.manifest,
    `${what} ${one.name}`,
  ];
  return new Map([
    ...points.map((one) => named(one, 'branch point of')),
    ...snapshots.map((one) => named(one, 'snapshot')),
  ]);
}

class RootsCheck {
  roots = 0;
  readonly #c: BranchCheckComponents;
  readonly #manifests: ManifestChain;
  readonly #head: Manifest;
  readonly #id: string;
  readonly #lineage: Lineage;

  constructor(
    components: BranchCheckComponents,
    manifests: ManifestChain,
    head: Manifest,
    id: string,
  ) {
    this.#c = components;
    this.#manifests = manifests;
    this.#head = head;
    this.#id = id;
    this.#lineage = new Lineage(id, head.lineage);
  }

  async head(number: number, defects: RunDefects): Promise<void> {
    await this.#c.inventory.reach(this.#id, 'manifest', number);
    const memtable = await checkLog(this.#c, this.#id, this.#head, this.#lineage);
    await this.#runs(this.#head.runs, defects);
    await this.#records(this.#head.runs, memtable);
    this.#count();
  }

  /** A root beside the head. What has gone from the head's lists meanwhile is left out. */
  async kept(number: number, headDefects: RunDefects): Promise<void> {
    const { inventory, findings } = this.#c;
    const before = findings.mark();
    const holder = 'fsck';
    const lease = await Lease.take(this.#c, {
      branch: this.#id,
      manifest: number,
      holder,
      log: true,
    });
    try {
      const { manifest: newest } = await this.#manifests.load();
      if (!keptRoots(newest).has(number)) return;
      const name = manifestName(this.#id, number);
      const bytes = await inventory.reach(this.#id, 'manifest', number);
      if (bytes === undefined) return findings.error('missing', name, 'is not there');
      const manifest = await this.#manifests.loadNumber(number, 'admin').catch((error: unknown) => {
        findings.caught('damaged', name, error);
      });
      if (manifest === undefined) return;
      const defects: RunDefects = { wrongCounts: 0, badSegments: new Set() };
      await this.#runs(manifest.runs, defects);
      await this.#records(manifest.runs, new Memtable());
      this.#count();
      // A run that the head has too was counted with the head.
      if (defects.badSegments.size > headDefects.badSegments.size) {
        findings.note(`${name} cannot be repaired: a snapshot is never written anew`);
      }
      if (lease.lost) throw leaseLostError();
    } catch (error) {
      if (!isStorageError(error, 'notFound')) throw error;
      findings.forget(before);
      findings.note('the branch was deleted meanwhile');
    } finally {
      await lease.release();
    }
  }

  /** What is kept for the life of the branch. */
  async claimsAndFences(): Promise<void> {
    const { inventory, findings, objects } = this.#c;
    for (const claim of this.#head.claims) {
      const name = manifestName(this.#id, claim);
      const bytes = await inventory.reach(this.#id, 'manifest', claim);
      if (bytes === undefined) findings.error('missing', name, 'is not there: it is a claim');
      else if (objects !== undefined) {
        await this.#opens(name, () => this.#manifests.loadNumber(claim, 'admin'));
      }
    }
    for (const fence of this.#head.fences) {
      const name = logName(this.#id, fence);
      const bytes = await inventory.reach(this.#id, 'log', fence);
      if (bytes === undefined) findings.error('missing', name, 'is not there: it is a fence');
      else if (objects !== undefined) {
        const tail = await this.#opens(name, () => openTail(this.#c, name, 'admin'));
        if (tail !== undefined && tail.record.type !== RECORD_FENCE) {
          findings.error('damaged', name, 'is no fence');
        }
      }
    }
  }

  async #opens<T>(name: string, open: () => Promise<T>): Promise<T | undefined> {
    try {
      return await open();
    } catch (error) {
      this.#c.findings.caught('damaged', name, error);
      return undefined;
    }
  }

  #count(): void {
    this.roots += 1;
    this.#c.findings.checked.roots += 1;
  }

  async #runs(runs: readonly Run[], into: RunDefects): Promise<void> {
    for (const run of runs) {
      const key = run.tables.map(({ id }) => this.#lineage.tableName(id)).join(' ');
      const known = this.#c.walked.get(key);
      const defects = known ?? (await checkRun(this.#c, run, this.#lineage));
      this.#c.walked.set(key, defects);
      // An object that was being read may add to them until then.
      await this.#c.objects?.settled();
      into.wrongCounts += defects.wrongCounts;
      for (const segment of defects.badSegments) into.badSegments.add(segment);
    }
  }

  async #records(runs: readonly Run[], memtable: Memtable): Promise<void> {
    const deps = { ...this.#c, cache: new BlockCache(LOOKUP_CACHE_BYTES) };
    const opened = runs.map((run) =>
      openRun(deps, TABLE_DEFAULTS, run, ({ id }) => this.#lineage.tableName(id)),
    );
    try {
      await this.#c.inspect(async (name) => {
        if (memtable.metas.has(name)) return memtable.metas.get(name);
        let found: Uint8Array | undefined;
        await lookup(opened, metaKey(name), (value) => {
          const reader = new ByteReader(value, `record ${name}`);
          found = reader.u8() === 0 ? undefined : reader.bytes(reader.remaining).slice();
          return true;
        });
        return found;
      });
    } catch (error) {
      // A table that cannot be read was reported by the walk.
      if (isStorageError(error, 'notFound')) return;
      this.#c.findings.caught('volumes', `branches/${this.#id}`, error);
    }
  }
}

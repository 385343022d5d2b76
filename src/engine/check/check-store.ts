// `varve fsck`: walks everything that the roots of a store reach and says what is wrong.
//
//   1. List the store, read the branch index.
//   2. Every branch: head and log, snapshots, branch points, claims, fences (branch-check.ts), and
//      all that they reach, tables to the last entry (run-check.ts). `deep`: objects to the last
//      byte.
//   3. What was listed and is not reached is garbage: no error.
//
// Only reads, apart from leases. Safe beside a running server; what that one makes or deletes
// during the walk may be counted as garbage.

import { messageOf, StorageError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { readBranchIndex } from '../branch-index.ts';
import { BRANCH_INDEX_PREFIX } from '../format/names.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { type BranchCheckComponents, type CheckedBranch, checkBranch } from './branch-check.ts';
import type { InspectRecords } from './branch-check.ts';
import { Inventory } from './inventory.ts';
import { ObjectCheck } from './object-check.ts';
import { type BranchCheck, type CheckReport, Findings, isDamage } from './report.ts';

export interface CheckComponents {
  readonly store: ObjectStore;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export type CheckProgress = (what: string, done: number, unit: string) => void;

export interface CheckOptions {
  /** Read every frame and record too. */
  readonly deep: boolean;
  /** Only this one; undefined: all. `notFound`. */
  readonly branch: string | undefined;
  readonly inspect: InspectRecords;
  readonly onProgress: CheckProgress;
}

/** The report, and what `repair` needs of each branch. */
export interface Checked {
  readonly report: CheckReport;
  readonly branches: readonly CheckedBranch[];
}

/** Damage is in the report; a store that fails, or a branch that is not there, is thrown. */
export async function checkStore(
  components: CheckComponents,
  options: CheckOptions,
): Promise<Checked> {
  const { store, keyring } = components;
  const { deep, onProgress, inspect } = options;
  const findings = new Findings();
  const inventory = await Inventory.of(store, (done) => onProgress('listing', done, 'objects'));
  const index = new Map<string, string>();
  try {
    const { branches } = await readBranchIndex(store, keyring, 'admin');
    for (const [name, id] of branches) index.set(name, id);
    if (branches.size === 0) findings.error('missing', BRANCH_INDEX_PREFIX, 'there is no index');
  } catch (error) {
    // The names are lost, the branches are not: they are checked under their ids.
    if (!isDamage(error)) throw error;
    findings.error('damaged', BRANCH_INDEX_PREFIX, messageOf(error));
  }
  if (findings.errorCount > 0) for (const id of inventory.branches.keys()) index.set(id, id);
  const context: BranchCheckComponents = {
    ...components,
    inventory,
    findings,
    inspect,
    objects: deep ? new ObjectCheck(components, findings) : undefined,
    walked: new Map(),
    onProgress: (done) => onProgress('checking', done, 'entries'),
  };
  const branches: CheckedBranch[] = [];
  for (const [name, id] of chosen(index, options.branch)) {
    branches.push(await checkBranch(context, name, id));
  }
  await context.objects?.settled();
  findings.enter(undefined, undefined);
  const garbage = await garbageOf(context, branches, index, options.branch !== undefined);
  const report: CheckReport = {
    branches: branches.map(summaryOf),
    errors: findings.errors,
    errorCount: findings.errorCount,
    notes: findings.notes,
    garbage,
    checked: { ...findings.checked },
  };
  return { report, branches };
}

function summaryOf({ name, id, manifest, roots, errors }: CheckedBranch): BranchCheck {
  return { name, id, manifest, roots, errors };
}

function chosen(
  index: ReadonlyMap<string, string>,
  only: string | undefined,
): ReadonlyMap<string, string> {
  if (only === undefined) return index;
  const id = index.get(only);
  if (id !== undefined) return new Map([[only, id]]);
  const known = [...index.keys()].join(', ') || 'none';
  throw new StorageError('notFound', `there is no branch "${only}"; there is: ${known}`);
}

/** Adds up what is not reached; notes what is not of any branch. */
async function garbageOf(
  context: BranchCheckComponents,
  branches: readonly CheckedBranch[],
  index: ReadonlyMap<string, string>,
  onlyChosen: boolean,
): Promise<CheckReport['garbage']> {
  const { inventory, findings } = context;
  let objects = 0;
  let bytes = 0;
  const add = (found: CheckReport['garbage']): void => {
    objects += found.objects;
    bytes += found.bytes;
  };
  for (const { id, head, manifest, name, errors } of branches) {
    // Behind what cannot be read there may be more: nothing is called garbage on half a walk.
    if (head === undefined || errors > 0) {
      findings.note(`branch ${name}: garbage is not counted, since not all could be read`);
    } else {
      add(inventory.garbageOf(id, (kind, n) => isPast(head, manifest, kind, n)));
    }
    const { unknown, leases } = inventory.branch(id);
    if (unknown > 0) findings.note(`branch ${name}: ${unknown} objects are not of varve's making`);
    if (leases > 0) findings.note(`branch ${name}: ${leases} leases of readers`);
  }
  if (onlyChosen) return { objects, bytes };
  if (inventory.unknown > 0) {
    findings.note(`${inventory.unknown} objects are not of varve's making`);
  }
  const named = new Set(index.values());
  for (const id of inventory.branches.keys()) {
    if (named.has(id)) continue;
    const last = await lastManifest(context, id);
    if (last?.manifest.deleted === true) {
      const { claims, fences } = last.manifest;
      const kept = { manifest: new Set([...claims, last.number]), log: new Set(fences) };
      const isKept = (kind: string, n: number): boolean =>
        (kind === 'manifest' || kind === 'log') && kept[kind].has(n);
      add(inventory.garbageOf(id, isKept));
    } else {
      findings.note(`branch ${id} is not in the index, and was not deleted`);
    }
  }
  return { objects, bytes };
}

/** What a newer writer made since, and the log that is still to be flushed. */
function isPast(head: Manifest, manifest: number, kind: string, number: number): boolean {
  if (kind === 'manifest') return number > manifest;
  return kind === 'log' && number >= head.logNumber;
}

async function lastManifest(
  { store, keyring, rng }: BranchCheckComponents,
  id: string,
): Promise<{ readonly number: number; readonly manifest: Manifest } | undefined> {
  const chain = createManifestChain(store, keyring, rng, id);
  try {
    const number = await chain.highest('admin');
    if (number === 0) return undefined;
    return { number, manifest: await chain.loadNumber(number, 'admin') };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

// `varve fsck --repair`: makes anew what is derived from the rest, in the head of one branch.
//
//   1. Take the branch over as a writer would: a running server is deposed.
//   2. Merge log and runs into one run. Whoever writes a run counts its pointers, so that all
//      counts are right behind it (live-counts.ts).
//   3. A segment whose frame table is missing or wrong gets the one that its object's own record
//      tells: a source above all others.
//   4. Publish a manifest with the new run, behind the log.
//
// Nothing is deleted. What no record tells stays as it is, and is said.

import { decodeSegmentEntry, type FrameTable, segmentEntryToBytes } from '../format/frame-table.ts';
import { ByteReader } from '../../base/bytes.ts';
import { isStorageError } from '../../base/errors.ts';
import type { CipherName } from '../../codec/types.ts';
import { KEY_SEGMENT, segmentKey } from '../format/keys.ts';
import { createRunCombine } from '../live-counts.ts';
import { IDS_PER_EPOCH, Lineage } from '../manifest/lineage.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { memtableEntries } from '../memtable/entries.ts';
import { Memtable } from '../memtable/memtable.ts';
import { recover } from '../recovery.ts';
import { BlockCache } from '../table/block-cache.ts';
import { type Cursor, cursorOf } from '../table/cursor.ts';
import { type Combine, mergeCursors } from '../table/merge.ts';
import { openRun, type Run } from '../table/run.ts';
import { writeRun } from '../table/run-writer.ts';
import { TABLE_DEFAULTS } from '../table/settings.ts';
import { compactionScan } from '../table/table-cursor.ts';
import type { CheckedBranch } from './branch-check.ts';
import type { CheckComponents } from './check-store.ts';
import { scanLog } from './log-scan.ts';

export interface RepairReport {
  readonly branch: string;
  /** Segments whose frame table was made anew. */
  readonly rebuilt: readonly number[];
  /** Segments of which no object tells the frame table. */
  readonly lost: readonly number[];
  readonly manifest: number;
}

const CACHE_BYTES = 1024 * 1024;

/** Whether a check found something in the branch's head that a repair can mend. */
export function isRepairable({ head, defects }: CheckedBranch): boolean {
  return head !== undefined && (defects.wrongCounts > 0 || defects.badSegments.size > 0);
}

/** Rewrites the head of a branch. Throws `corrupt` when a table of it cannot be read. */
export async function repairBranch(
  components: CheckComponents & { readonly cipher: CipherName },
  { id, name, defects }: CheckedBranch,
): Promise<RepairReport> {
  const { store, keyring, rng } = components;
  const manifests = createManifestChain(store, keyring, rng, id);
  const memtable = new Memtable();
  const recovered = await recover(
    { ...components, manifests },
    { branch: id, readOnly: false, cipher: components.cipher, memtable },
  );
  const { root, position, epoch } = recovered;
  const lineage = new Lineage(id, root.manifest.lineage);
  const found = await framesOf(components, lineage, defects.badSegments);
  const sources = [
    cursorOf(framesEntries(found)),
    cursorOf(memtableEntries(memtable, () => {})),
    ...runCursors(components, root.manifest.runs, lineage),
  ];
  const merged = mergeCursors(sources, forgiving(createRunCombine(() => {})), true);
  const run = await writeMerged(components, merged, lineage, epoch);
  const { logNumber, nextSegment } = position;
  const runs = run.tables.length === 0 ? [] : [run];
  const manifest = { ...root.manifest, logNumber, nextSegment, logEpoch: epoch, runs };
  await manifests.publish(root.number + 1, manifest, 'admin');
  const rebuilt = [...found.keys()];
  const lost = [...defects.badSegments].filter((segment) => !found.has(segment));
  return { branch: name, rebuilt, lost, manifest: root.number + 1 };
}

export function runCursors(
  components: CheckComponents,
  runs: readonly Run[],
  lineage: Lineage,
): Cursor[] {
  return runs.map((run) => {
    const deps = { ...components, cache: new BlockCache(CACHE_BYTES) };
    const opened = openRun(deps, TABLE_DEFAULTS, run, ({ id }) => lineage.tableName(id));
    return opened.cursor(compactionScan());
  });
}

export function writeMerged(
  components: CheckComponents,
  merged: Cursor,
  lineage: Lineage,
  epoch: number,
): Promise<Run> {
  let next = epoch * IDS_PER_EPOCH + 1;
  return writeRun(components, TABLE_DEFAULTS, merged, {
    cause: 'admin',
    allocateId: () => next++,
    nameOf: (id) => lineage.tableName(id),
  });
}

/** Entries of segments, ascending. The count is made anew by whoever merges them. */
export function* framesEntries(
  tables: ReadonlyMap<number, FrameTable>,
): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
  for (const [segment, table] of [...tables].sort((a, b) => a[0] - b[0])) {
    yield { key: segmentKey(segment), value: segmentEntryToBytes(table, 1) };
  }
}

/**
 * A frame table that does not decode is dropped, with those above it that were made anew: what is
 * left without one reads as damage, as before.
 */
export function forgiving(combine: Combine): Combine {
  return (key, values, isBottom) => {
    if (key[0] !== KEY_SEGMENT || decodes(values[0]!)) return combine(key, values, isBottom);
    return values.slice(1).some(decodes)
      ? combine(key, values.filter(decodes), isBottom)
      : undefined;
  };
}

function decodes(value: Uint8Array): boolean {
  try {
    decodeSegmentEntry(new ByteReader(value, 'frame table'));
    return true;
  } catch (error) {
    if (!isStorageError(error, 'corrupt')) throw error;
    return false;
  }
}

/** Frame tables as the records of log objects tell them. */
async function framesOf(
  components: CheckComponents,
  lineage: Lineage,
  segments: ReadonlySet<number>,
): Promise<Map<number, FrameTable>> {
  const found = new Map<number, FrameTable>();
  const branches = new Set([...segments].map((segment) => lineage.branchOfSegment(segment)));
  for (const branch of branches) {
    const scan = await scanLog(components, branch, () => {});
    for (const { commit, table } of scan.commits) {
      const { segment } = commit;
      if (segments.has(segment) && lineage.branchOfSegment(segment) === branch) {
        found.set(segment, table);
      }
    }
  }
  return found;
}

// The newest state that tables and log of a branch allow.
//
//   above     the log's commits behind the newest segment that tables know of, without a gap
//   …         runs, newest first (rescue-plan.ts)
//   below     where tables are known to be lost: all older commits that are still in the log
//
// A gap right behind the tables is taken for commits of which nothing was alive when they were
// flushed: their objects are deleted then. It is reported. Any later gap is where the log ends.

import type { CheckProgress } from './check-store.ts';
import { forEachChunk } from '../format/records.ts';
import { tableName } from '../format/names.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { Lineage } from '../manifest/lineage.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { Memtable } from '../memtable/memtable.ts';
import type { Inventory } from './inventory.ts';
import type { LogScan, ScannedCommit } from './log-scan.ts';
import type { ObjectCheckComponents } from './object-check.ts';
import { joinRuns, newestState, type RescuedRun, supersedes } from './rescue-plan.ts';
import { type RescuedTable, rescueTable } from './rescue-table.ts';
import type { SalvageSource } from './salvage-source.ts';

export interface DamagedObject {
  readonly object: string;
  readonly what: string;
}

export interface LogReport {
  /** Segments of the log that were applied, both included; 0 when there were none. */
  readonly first: number;
  readonly last: number;
  /** Segments that are not there, before the first that was applied; 0 when none are missing. */
  readonly missingFrom: number;
  readonly missingTo: number;
  /** Commits behind the gap at which the log ended. */
  readonly beyond: number;
}

export interface SalvagedState {
  readonly lineage: Lineage;
  readonly tail: Memtable;
  /** Newest first. */
  readonly runs: readonly RescuedRun[];
  readonly below: Memtable;
  /** Every frame table that is known, by segment. */
  readonly frames: ReadonlyMap<number, FrameTable>;
  /** Tables of the branch itself that can be read to the end, used or not. */
  readonly ownTables: readonly RescuedTable[];
  readonly damagedTables: readonly DamagedObject[];
  readonly log: LogReport;
}

export async function salvageState(
  components: ObjectCheckComponents,
  inventory: Inventory,
  source: SalvageSource,
  scan: LogScan,
  onProgress: CheckProgress,
): Promise<SalvagedState> {
  const base = source.base?.manifest;
  const lineage = new Lineage(source.id, base?.lineage ?? []);
  const unreadable: (DamagedObject & { readonly id: number })[] = [];
  const tables: RescuedTable[] = [];
  const ids = new Set(base?.runs.flatMap((run) => run.tables.map((table) => table.id)));
  for (const id of inventory.branch(source.id).kinds.table.bytes.keys()) ids.add(id);
  for (const id of ids) {
    onProgress('reading tables', tables.length, 'tables');
    const branch = lineage.branchOfId(id);
    // A leftover under our own name whose id is an ancestor's is no table of the tree.
    const name = tableName(branch, id);
    const rescued = await rescueTable(components, name, id);
    if (typeof rescued === 'string') {
      unreadable.push({ id, object: name, what: rescued });
    } else {
      tables.push(rescued);
    }
  }
  const { runs, covered } = chooseRuns(tables, base);
  const isNewest = base !== undefined && source.base!.number === source.highestManifest;
  const lost = unreadable.filter(
    ({ id }) => (isNewest && isNamed(base, id)) || !isReplaced(runs, base, id),
  );
  const isTableLost = lost.length > 0 || runs.some((run) => !run.complete);
  const isStrict = isNewest && covered === base.nextSegment - 1;
  const { applied, log } = tailOf(scan.commits, covered, isStrict);
  const known = new Set(runs.flatMap((run) => run.tables.flatMap((one) => [...one.frames.keys()])));
  const older = scan.commits.filter(({ commit }) => commit.segment <= covered);
  const below = isTableLost ? older.filter(({ commit }) => !known.has(commit.segment)) : [];
  const frames = new Map<number, FrameTable>();
  for (const { commit, table } of scan.commits) frames.set(commit.segment, table);
  for (const run of runs.toReversed()) {
    for (const table of run.tables) for (const one of table.frames) frames.set(...one);
  }
  return {
    lineage,
    tail: memtableOf(applied),
    runs,
    below: memtableOf(below),
    frames,
    ownTables: tables.filter((one) => one.damage === undefined && lineage.ownsId(one.id)),
    damagedTables: [
      ...lost.map(({ object, what }) => ({ object, what })),
      ...tables.flatMap(({ name, damage }) =>
        damage === undefined ? [] : [{ object: name, what: damage }],
      ),
    ],
    log,
  };
}

function isNamed(base: Manifest, id: number): boolean {
  return base.runs.some((run) => run.tables.some((table) => table.id === id));
}

/**
 * Whether a table that cannot be read is one that later tables replaced: an old manifest names
 * tables that were merged since. Where it cannot be told, the log shall fill in for it.
 */
function isReplaced(runs: readonly RescuedRun[], base: Manifest | undefined, id: number): boolean {
  if (base === undefined) return false;
  if (isNamed(base, id)) {
    const later = (run: RescuedRun): boolean => run.id > id && run.high > 0 && run.complete;
    return runs.some((run) => later(run) && run.low < base.nextSegment);
  }
  return id < Math.max(0, ...base.runs.flatMap((run) => run.tables.map((table) => table.id)));
}

/** The newest state, and the last segment that it covers. */
function chooseRuns(
  tables: readonly RescuedTable[],
  base: Manifest | undefined,
): { readonly runs: readonly RescuedRun[]; readonly covered: number } {
  const wanted = base?.runs.map((run) => run.tables.map((table) => table.id)) ?? [];
  const { known, others } = joinRuns(tables, wanted);
  const isWhole = known.length === wanted.length && known.every((run) => run.complete);
  const flushed = (base?.nextSegment ?? 1) - 1;
  let runs: readonly RescuedRun[];
  if (base !== undefined && isWhole) {
    // Older tables are superseded by those of the manifest, whatever they say of themselves.
    const lastId = Math.max(0, ...wanted.flat());
    // A merge that took in a trim holds no newer segment, and a flush that was under way when the
    // manifest was published has no higher id: either tells that a run is newer.
    const newer = others.filter((run) => run.id > lastId || run.high > flushed);
    const kept = known.filter((run) => !newer.some((other) => supersedes(other, run)));
    runs = [...newestState(newer), ...kept];
  } else {
    runs = newestState([...known, ...others]);
  }
  return { runs, covered: Math.max(flushed, ...runs.map((run) => run.high)) };
}

/** The commits to apply on top of what tables cover. */
function tailOf(
  commits: readonly ScannedCommit[],
  covered: number,
  isStrict: boolean,
): { readonly applied: readonly ScannedCommit[]; readonly log: LogReport } {
  const newer = commits.filter(({ commit }) => commit.segment > covered);
  const start = newer[0]?.commit.segment ?? 0;
  const hasGap = start > covered + 1;
  const nothing = { first: 0, last: 0, missingFrom: 0, missingTo: 0 };
  if (start === 0) return { applied: [], log: { ...nothing, beyond: 0 } };
  const gap = hasGap ? { missingFrom: covered + 1, missingTo: start - 1 } : {};
  if (hasGap && isStrict) return { applied: [], log: { ...nothing, ...gap, beyond: newer.length } };
  const end = newer.findIndex(({ commit }, i) => commit.segment !== start + i);
  const applied = end < 0 ? newer : newer.slice(0, end);
  const last = start + applied.length - 1;
  const log = { ...nothing, ...gap, first: start, last, beyond: newer.length - applied.length };
  return { applied, log };
}

function memtableOf(commits: readonly ScannedCommit[]): Memtable {
  const memtable = new Memtable();
  for (const { commit, name, table } of commits) {
    forEachChunk(commit, name, (inode, chunk, map) => memtable.put(inode, chunk, map));
    for (const [key, value] of commit.metas) memtable.putMeta(key, value?.slice());
    memtable.putSegment(commit.segment, table);
  }
  return memtable;
}

// `varve salvage`: from bucket and passphrase alone, the newest state that tables and log of a
// branch allow, as a new branch, with a report of what is missing (docs/fsck.md).
//
//   1. Find the branch, what opens of its manifests, its log, its tables; work out the state.
//   2. Write that as one run of the old branch, under an epoch that no one had.
//   3. Give the old branch two manifests: one to be pinned, which names the new run and, when other
//      branches stand on the old one whose branch points are lost, every table that is there; and a
//      head, the salvaged state, with branch points on the first for the new branch and those.
//   4. Take the old branch over, so that a server which still writes it meets a fence.
//   5. The new branch: its first manifest names the run and has the old branch as its parent. Last
//      the index, which is made anew where it was lost.
//
// Nothing is deleted. Blocks whose bytes are gone keep their pointers: reading them is an error,
// never zeroes.

import { StorageError } from '../../base/errors.ts';
import type { CipherName } from '../../codec/types.ts';
import { newBranchId, putBranchIndex } from '../branch-index.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { createRunCombine } from '../live-counts.ts';
import { IDS_PER_EPOCH } from '../manifest/lineage.ts';
import { FIRST_MANIFEST, type Manifest } from '../manifest/manifest.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { memtableEntries } from '../memtable/entries.ts';
import { Memtable } from '../memtable/memtable.ts';
import { recover } from '../recovery.ts';
import { checkRootName } from '../root-name.ts';
import { type Cursor, cursorOf } from '../table/cursor.ts';
import { mergeCursors } from '../table/merge.ts';
import type { Run } from '../table/run.ts';
import type { CheckComponents, CheckProgress } from './check-store.ts';
import { Inventory, OBJECT_KINDS } from './inventory.ts';
import { type LogScan, scanLog } from './log-scan.ts';
import { type LostRange, LostRanges } from './lost-ranges.ts';
import { forgiving, framesEntries, writeMerged } from './repair.ts';
import type { RescuedTable } from './rescue-table.ts';
import { rescuedEntries } from './rescue-table.ts';
import { chooseSource, readSource, rescueIndex, type SalvageSource } from './salvage-source.ts';
import { type DamagedObject, type LogReport, salvageState } from './salvage-state.ts';
import type { SalvagedState } from './salvage-state.ts';

export interface SalvageOptions {
  /** Name of the branch that is made. `exists`, or `invalid` for a bad one. */
  readonly branch: string;
  /** Id or name of the one to salvage; undefined: the one with the most data. */
  readonly from: string | undefined;
  readonly onProgress: CheckProgress;
}

export interface SalvageReport {
  readonly source: { readonly id: string; readonly manifest: number | undefined };
  readonly branch: { readonly name: string; readonly id: string };
  readonly log: LogReport;
  readonly tablesUsed: number;
  readonly damaged: readonly DamagedObject[];
  /** Segments that blocks point at and whose object is gone, or is not known any more. */
  readonly lostSegments: readonly {
    readonly segment: number;
    readonly object: string | undefined;
  }[];
  readonly lost: readonly LostRange[];
  readonly lostBytes: number;
  /** The records of the salvaged state. */
  readonly records: ReadonlyMap<string, Uint8Array>;
}

interface Numbers {
  /** Of what is written now: higher than any before. */
  readonly epoch: number;
  /** Higher than any segment before. */
  readonly nextSegment: number;
  readonly logNumber: number;
}

export async function salvage(
  components: CheckComponents & { readonly cipher: CipherName },
  { branch, from, onProgress }: SalvageOptions,
): Promise<SalvageReport> {
  checkRootName('branch', branch);
  const { store, keyring, rng } = components;
  const inventory = await Inventory.of(store, (done) => onProgress('listing', done, 'objects'));
  const index = await rescueIndex(components);
  if (index.branches.has(branch)) throw new StorageError('exists', `branch "${branch}" exists`);
  const id = chooseSource(inventory, index.branches, from);
  const source = await readSource(components, inventory, id, index.branches);
  const scan = await scanLog(components, id, (done) =>
    onProgress('reading the log', done, 'objects'),
  );
  const state = await salvageState(components, inventory, source, scan, onProgress);
  const numbers = numbersOf(inventory, source, scan, state);

  onProgress('writing tables', 0, 'tables');
  const watch = new LostRanges((segment) => isLost(inventory, state, segment));
  const run = await writeMerged(
    components,
    watch.watching(mergedState(components, state)),
    state.lineage,
    numbers.epoch,
  );
  const newId = newBranchId(rng);
  await refound(components, source, { state, scan, numbers, run, newId, branch });
  const lineage = [
    ...(source.base?.manifest.lineage ?? []),
    { branch: id, nextSegment: numbers.nextSegment, epoch: numbers.epoch },
  ];
  const { epoch, nextSegment } = numbers;
  const runs = runsOf(run);
  const first = { ...FIRST_MANIFEST, epoch, logEpoch: epoch, nextSegment, runs, lineage };
  await createManifestChain(store, keyring, rng, newId).publish(1, first, 'admin');
  const names = index.branches.size > 0 ? index.branches : namesOf(inventory);
  const branches = new Map([...names, [branch, newId]]);
  await putBranchIndex(store, keyring, rng, { number: index.number + 1, branches });
  return {
    source: { id, manifest: source.base?.number },
    branch: { name: branch, id: newId },
    log: state.log,
    tablesUsed: state.runs.reduce((sum, one) => sum + one.tables.length, 0),
    damaged: [
      ...state.damagedTables,
      ...scan.damaged.map(({ name, what }) => ({ object: name, what })),
    ],
    lostSegments: [...watch.segments].map((segment) => {
      const table = state.frames.get(segment);
      const object = table === undefined ? undefined : state.lineage.segmentName(segment, table);
      return { segment, object };
    }),
    lost: watch.ranges,
    lostBytes: watch.lostBytes,
    records: watch.records,
  };
}

function runsOf(run: Run): readonly Run[] {
  return run.tables.length === 0 ? [] : [run];
}

/** Every branch of which there is anything, when no name is known. */
function namesOf(inventory: Inventory): Map<string, string> {
  return new Map([...inventory.branches.keys()].map((id) => [`branch-${id}`, id]));
}

function isLost(
  inventory: Inventory,
  { lineage, frames }: SalvagedState,
  segment: number,
): boolean {
  const table = frames.get(segment);
  if (table === undefined) return true;
  const { kinds } = inventory.branch(lineage.branchOfSegment(segment));
  const { dataId, logNumber, offsets } = table;
  const bytes = dataId === 0 ? kinds.log.bytes.get(logNumber) : kinds.data.bytes.get(dataId);
  return bytes === undefined || bytes < offsets.at(-1)!;
}

function mergedState(
  components: CheckComponents,
  { tail, runs, below, frames }: SalvagedState,
): Cursor {
  const nothingDropped = (): void => {};
  const runCursor = (tables: readonly RescuedTable[]): Cursor =>
    cursorOf(entriesOfTables(components, tables));
  const sources = [
    cursorOf(framesEntries(missingFrames(runs, frames))),
    cursorOf(memtableEntries(tail, nothingDropped)),
    ...runs.map((run) => runCursor(run.tables)),
    cursorOf(memtableEntries(below, nothingDropped)),
  ];
  return mergeCursors(sources, forgiving(createRunCombine(nothingDropped)), true);
}

async function* entriesOfTables(
  components: CheckComponents,
  tables: readonly RescuedTable[],
): AsyncGenerator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
  for (const table of tables) yield* rescuedEntries(components, table);
}

/** Frame tables that pointers in the runs need and that only a log object tells. */
function missingFrames(
  runs: SalvagedState['runs'],
  frames: ReadonlyMap<number, FrameTable>,
): Map<number, FrameTable> {
  const present = new Set(
    runs.flatMap((run) => run.tables.flatMap((one) => [...one.frames.keys()])),
  );
  const missing = new Map<number, FrameTable>();
  for (const { pointers } of runs.flatMap((run) => run.tables)) {
    for (const segment of pointers.keys()) {
      const table = frames.get(segment);
      if (!present.has(segment) && table !== undefined) missing.set(segment, table);
    }
  }
  return missing;
}

function numbersOf(
  inventory: Inventory,
  { id, manifests, base }: SalvageSource,
  scan: LogScan,
  { frames }: SalvagedState,
): Numbers {
  const { kinds } = inventory.branch(id);
  let epoch = Math.max(scan.highestEpoch, base?.manifest.epoch ?? 0);
  let nextSegment = Math.max(scan.highestSegment + 1, base?.manifest.nextSegment ?? 1);
  for (const manifest of manifests.values()) {
    epoch = Math.max(epoch, manifest.epoch, ...manifest.lineage.map((one) => one.epoch));
    nextSegment = Math.max(nextSegment, manifest.nextSegment);
  }
  for (const kind of OBJECT_KINDS) {
    if (kind === 'manifest' || kind === 'log') continue;
    for (const one of kinds[kind].bytes.keys())
      epoch = Math.max(epoch, Math.floor(one / IDS_PER_EPOCH));
  }
  for (const segment of frames.keys()) nextSegment = Math.max(nextSegment, segment + 1);
  const logNumber = Math.max(scan.highestNumber + 1, base?.manifest.logNumber ?? 1);
  return { epoch: epoch + 1, nextSegment, logNumber };
}

interface Refounding {
  readonly state: SalvagedState;
  readonly scan: LogScan;
  readonly numbers: Numbers;
  readonly run: Run;
  readonly newId: string;
  readonly branch: string;
}

/** Steps 3 and 4. */
async function refound(
  components: CheckComponents & { readonly cipher: CipherName },
  { id, base, manifests: opened, highestManifest, children }: SalvageSource,
  { state, scan, numbers, run, newId, branch }: Refounding,
): Promise<void> {
  const { store, keyring, rng, clock, cipher } = components;
  const chain = createManifestChain(store, keyring, rng, id);
  const before = base?.manifest ?? FIRST_MANIFEST;
  const { epoch, nextSegment, logNumber } = numbers;
  const points = before.points.filter((point) => opened.has(point.manifest));
  const unpinned = [...children].filter(([child]) => !points.some((one) => one.branch === child));
  // What another branch needs of ours lies in tables that its lost branch point kept: one of these.
  const shared = unpinned.length === 0 ? [] : state.ownTables;
  const pinning: Manifest = {
    ...FIRST_MANIFEST,
    epoch,
    logNumber,
    logEpoch: epoch,
    nextSegment,
    lineage: before.lineage,
    runs: [...runsOf(run), ...shared.map((table) => ({ tables: [table.descriptor] }))],
  };
  const pin = highestManifest + 1;
  await chain.publish(pin, pinning, 'admin');
  const createdUnixMs = clock.unixMs();
  for (const [child, name] of [...unpinned, [newId, branch] as const]) {
    points.push({ name, branch: child, manifest: pin, createdUnixMs });
  }
  const head: Manifest = {
    ...pinning,
    runs: runsOf(run),
    restores: before.restores + 1,
    claims: before.claims.filter((claim) => opened.has(claim)),
    fences: scan.fences.toSorted((a, b) => a - b),
    snapshots: before.snapshots.filter((one) => opened.has(one.manifest)),
    points,
  };
  await chain.publish(pin + 1, head, 'admin');
  await recover(
    { ...components, manifests: chain },
    { branch: id, readOnly: false, cipher, memtable: new Memtable() },
  );
}

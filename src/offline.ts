// The composition root of the commands that make a store, or work on
// one or on a journal, without a server.

import { isAbsolute, join } from 'node:path';
import type { DaemonComponents } from './daemon.ts';
import type { Settings } from './cli/settings.ts';
import { lockStateDir } from './cli/state-dir.ts';
import { createInlineSealer } from './codec/sealer.ts';
import {
  checkStore,
  type CheckReport,
  createNodeJournalDisk,
  discardJournal,
  type ExportedChange,
  exportJournal,
  initStore,
  isRepairable,
  listJournals,
  type LocalJournalInfo,
  openRoot,
  repairBranch,
  type RepairReport,
  salvage,
  type SalvageReport,
} from './engine/db.ts';
import { openStore } from './opened-store.ts';
import { answersAt } from './server/http/admin.ts';
import { inspectVolumes } from './volume/inspect.ts';

/** Creates the store. Throws `exists` when there is one. */
export async function createStore(settings: Settings, components: DaemonComponents): Promise<void> {
  const { clock, rng } = components;
  await using open = new AsyncDisposableStack();
  const { store } = await openStore(settings, components, open);
  const { cipher, compression } = settings;
  const passphrase = await components.passphrase();
  open.defer(() => components.progress.end());
  components.progress.begin('creating the store');
  await initStore({ store, rng, clock }, { passphrase, cipher, compression });
}

export interface FsckOptions {
  readonly deep: boolean;
  readonly repair: boolean;
  /** Only this branch; undefined: all. */
  readonly branch: string | undefined;
}

export interface FsckOutcome extends CheckReport {
  readonly repairs: readonly RepairReport[];
}

/** Checks a store; with `repair` also mends what can be mended, and checks again. */
export async function fsckStore(
  settings: Settings,
  components: DaemonComponents,
  { deep, repair, branch }: FsckOptions,
): Promise<FsckOutcome> {
  await using open = new AsyncDisposableStack();
  const tools = await openTools(settings, components, open);
  const onProgress = progressOf(components);
  const inspect = async (meta: Parameters<typeof inspectVolumes>[0]): Promise<void> => {
    await inspectVolumes(meta);
  };
  const options = { deep, branch, inspect, onProgress };
  const { report, branches } = await checkStore(tools, options);
  if (!repair) return { ...report, repairs: [] };
  const repairs: RepairReport[] = [];
  for (const one of branches) {
    if (isRepairable(one)) repairs.push(await repairBranch(tools, one));
  }
  if (repairs.length === 0) return { ...report, repairs };
  return { ...(await checkStore(tools, options)).report, repairs };
}

export interface SalvageOptions {
  /** Name of the branch that is made. */
  readonly branch: string;
  /** Id or name of the branch to salvage. */
  readonly from: string | undefined;
}

/** Bytes of a volume that are lost; `volume` is undefined for those of none. */
export interface LostBytes {
  readonly volume: string | undefined;
  readonly inode: number;
  readonly from: number;
  readonly to: number;
}

export interface SalvageOutcome extends Omit<SalvageReport, 'lost' | 'records'> {
  readonly volumes: readonly { readonly name: string; readonly size: number }[];
  readonly lost: readonly LostBytes[];
}

export async function salvageStore(
  settings: Settings,
  components: DaemonComponents,
  options: SalvageOptions,
): Promise<SalvageOutcome> {
  await using open = new AsyncDisposableStack();
  const tools = await openTools(settings, components, open);
  const report = await salvage(tools, { ...options, onProgress: progressOf(components) });
  const { records, ...rest } = report;
  const volumes = await inspectVolumes((name) => Promise.resolve(records.get(name)));
  const names = new Map(volumes.map(({ inode, name }) => [inode, name]));
  return {
    ...rest,
    volumes: volumes.map(({ name, sizeBytes }) => ({ name, size: sizeBytes })),
    lost: report.lost.map((range) => ({ volume: names.get(range.inode), ...range })),
  };
}

/** A plain path is a directory's: `varve salvage ./copy-of-the-bucket`. */
export function asStoreUrl(text: string): string {
  const isUrl = /^(file|s3|memory):/.test(text) && !isAbsolute(text);
  return isUrl ? text : `file:${text}`;
}

async function openTools(
  settings: Settings,
  components: DaemonComponents,
  open: AsyncDisposableStack,
) {
  const { clock, rng, log, progress } = components;
  const { store } = await openStore(settings, components, open);
  const passphrase = await components.passphrase();
  const sealer = createInlineSealer();
  open.defer(() => sealer.close());
  open.defer(() => progress.end());
  progress.begin('opening the store');
  const { format, keyring } = await openRoot(store, passphrase, 'admin');
  return { store, sealer, keyring, clock, rng, log, cipher: format.cipher };
}

/** Each piece of work is announced once. */
function progressOf({ progress }: DaemonComponents) {
  let before = '';
  return (what: string, done: number, unit: string): void => {
    if (what !== before) progress.begin(what);
    before = what;
    progress.update(done, undefined, unit);
  };
}

export type JournalReport = LocalJournalInfo;

/** What lies in the state directory. Refused while a server uses it. */
export async function inspectLocalJournals(
  settings: Settings,
  components: DaemonComponents,
): Promise<readonly JournalReport[]> {
  await using open = new AsyncDisposableStack();
  const { tools, directory } = await openJournals(settings, components, open);
  return await listJournals(tools, directory);
}

export async function* exportLocalJournal(
  settings: Settings,
  components: DaemonComponents,
  id: string,
): AsyncGenerator<ExportedChange> {
  await using open = new AsyncDisposableStack();
  const { tools, directory } = await openJournals(settings, components, open);
  yield* exportJournal(tools, directory, id);
}

export async function discardLocalJournal(
  settings: Settings,
  components: DaemonComponents,
  id: string,
): Promise<JournalReport> {
  await using open = new AsyncDisposableStack();
  const { tools, directory } = await openJournals(settings, components, open);
  return await discardJournal(tools, directory, id);
}

/** The store is asked for its keys only. */
async function openJournals(
  settings: Settings,
  components: DaemonComponents,
  open: AsyncDisposableStack,
) {
  const adminSocket = join(settings.stateDir, 'admin.sock');
  const lock = await lockStateDir(settings.stateDir, () => answersAt(adminSocket));
  open.defer(() => lock.release());
  const { keyring, sealer } = await openTools(settings, components, open);
  const disk = createNodeJournalDisk();
  open.defer(() => disk.close());
  return { tools: { disk, keyring, sealer }, directory: join(settings.stateDir, 'journal') };
}

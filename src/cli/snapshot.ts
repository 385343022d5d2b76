// `varve snapshot create | list | delete`: asks the running server, prints what came of it.

import type { SnapshotUsageReport } from '../server/http/report.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';
import { formatTime } from './time.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runSnapshotCreate(
  settings: Settings,
  context: CommandContext,
  name: string,
): Promise<void> {
  const creating = runningServer(settings).createSnapshot(name);
  const made = await whileWaiting(`creating snapshot ${name}`, creating);
  context.print(`created snapshot ${made.name}, ${formatTime(made.createdUnixMs)}\n`);
}

export async function runSnapshotList(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const listing = runningServer(settings).listSnapshots();
  const snapshots = await whileWaiting('adding up what snapshots keep', listing);
  context.print(asJson ? `${JSON.stringify(snapshots, null, 2)}\n` : snapshotTable(snapshots));
}

export async function runSnapshotDelete(
  settings: Settings,
  context: CommandContext,
  name: string,
): Promise<void> {
  await whileWaiting(`deleting snapshot ${name}`, runningServer(settings).deleteSnapshot(name));
  context.print(`deleted snapshot ${name}\n`);
}

function snapshotTable(snapshots: readonly SnapshotUsageReport[]): string {
  if (snapshots.length === 0) {
    return 'no snapshots: make one with "varve snapshot create NAME"\n';
  }
  const rows = snapshots.map((one) => [
    one.name,
    formatTime(one.createdUnixMs),
    formatSize(one.reachedBytes),
    formatSize(one.ownBytes),
    one.branches.join(', ') || '-',
  ]);
  // FREES is what goes when this one alone is deleted: what no other root reaches.
  const header = ['NAME', 'CREATED', 'REACHES', 'FREES', 'BRANCHES'];
  return formatTable([header, ...rows], [2, 3]);
}

// `varve gc`: frees what nothing needs, and says how much that was. Interrupted, it only stops
// telling: the server finishes what it has begun.

import type { CollectReport } from '../server/http/report.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';
import { whileTold } from './while-waiting.ts';

export async function runGc(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const report = await whileTold('collecting', (onProgress) =>
    runningServer(settings).collect(onProgress),
  );
  context.print(asJson ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
}

function formatReport(report: CollectReport): string {
  const { deletedObjects, deletedBytes } = report;
  const facts = [
    ['freed', `${deletedObjects} objects of ${formatSize(deletedBytes)}`],
    ['moved', formatSize(report.movedBytes)],
    ['stored', formatSize(report.storedBytes)],
    ['live', formatSize(report.liveBytes)],
    ['kept by snapshots', formatSize(report.pinnedBytes)],
  ];
  return formatTable(facts, []);
}

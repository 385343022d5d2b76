// `varve branch create | list | delete`: asks the running server, prints what came of it.

import type { BranchReport } from '../server/http/report.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';
import { whileWaiting } from './while-waiting.ts';

export interface BranchRequest {
  readonly name: string;
  /** A snapshot; else the state as it is now. */
  readonly from: string | undefined;
}

export async function runBranchCreate(
  settings: Settings,
  context: CommandContext,
  { name, from }: BranchRequest,
): Promise<void> {
  const creating = runningServer(settings).createBranch(name, from);
  const made = await whileWaiting(`creating branch ${name}`, creating);
  const how = `serve it with "varve serve --branch ${made.name}" and another --state`;
  context.print(`created branch ${made.name}: ${how}\n`);
}

export async function runBranchList(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const listing = runningServer(settings).listBranches();
  const branches = await whileWaiting('adding up what branches keep', listing);
  context.print(asJson ? `${JSON.stringify(branches, null, 2)}\n` : branchTable(branches));
}

export async function runBranchDelete(
  settings: Settings,
  context: CommandContext,
  name: string,
): Promise<void> {
  await whileWaiting(`deleting branch ${name}`, runningServer(settings).deleteBranch(name));
  context.print(`deleted branch ${name}\n`);
}

function branchTable(branches: readonly BranchReport[]): string {
  const rows = branches.map(({ name, parent, keptBytes, served }) => [
    name,
    parent ?? '-',
    keptBytes === undefined ? '-' : formatSize(keptBytes),
    served ? 'by this server' : '-',
  ]);
  // KEEPS is what of the served branch's objects a child alone keeps.
  return formatTable([['NAME', 'PARENT', 'KEEPS', 'SERVED'], ...rows], [2]);
}

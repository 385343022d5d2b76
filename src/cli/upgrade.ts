// `varve upgrade`: the running server's process is replaced by a new one, with what lies on disk
// now. Clients go on; docs/upgrade.md says which.

import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { whileTold } from './while-waiting.ts';

export async function runUpgrade(
  settings: Settings,
  context: CommandContext,
  json: boolean,
): Promise<void> {
  const server = runningServer(settings);
  const report = await whileTold('asking the server', (onProgress) => server.upgrade(onProgress));
  if (json) return context.print(`${JSON.stringify(report)}\n`);
  const { version, pid, connections, closed, waitedMs } = report;
  const cut = closed === 0 ? '' : `, ${closed} closed`;
  const what = `varve ${version} serves now (pid ${pid})`;
  context.print(`${what}: ${connections} connections went on${cut}; they waited ${waitedMs} ms\n`);
}

// `varve restore SNAPSHOT`: all volumes of the branch become what the snapshot holds.

import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runRestore(
  settings: Settings,
  context: CommandContext,
  name: string,
): Promise<void> {
  await whileWaiting(`restoring ${name}`, runningServer(settings).restore(name));
  context.print(`restored snapshot ${name}: clients may connect again\n`);
}

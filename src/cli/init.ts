// `varve init`: creates the store. Refuses one that exists; makes no volume and starts nothing.

import { createStore } from '../offline.ts';
import { realComponents } from './components.ts';
import type { CommandContext } from './command-context.ts';
import type { Settings } from './settings.ts';

export async function runInit(settings: Settings, context: CommandContext): Promise<void> {
  await createStore(settings, await realComponents(settings, context, { newPassphrase: true }));
  context.print(
    `created the store ${settings.storeUrl}: keep the passphrase, nothing opens it else\n`,
  );
}

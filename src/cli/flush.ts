// `varve flush`: returns when everything that was written before it is durable.

import { createAdminClient } from '../server/http/client.ts';
import { adminSocketPath } from './program.ts';
import type { Settings } from './settings.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runFlush(settings: Settings): Promise<void> {
  const client = createAdminClient(adminSocketPath(settings.stateDir));
  await whileWaiting('making everything durable', client.flush());
}

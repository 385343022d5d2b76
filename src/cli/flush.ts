// `varve flush`: returns when everything that was written before it is durable.

import { createAdminClient } from '../server/http/client.ts';
import { adminSocketPath } from './program.ts';
import type { Settings } from './settings.ts';

export async function runFlush(settings: Settings): Promise<void> {
  await createAdminClient(adminSocketPath(settings.stateDir)).flush();
}

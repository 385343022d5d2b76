// The server that a command asks: the one that keeps its state in the same directory.

import { join } from 'node:path';
import { type AdminClient, createAdminClient } from '../server/http/client.ts';
import type { Settings } from './settings.ts';

export function runningServer({ stateDir }: Settings): AdminClient {
  return createAdminClient(join(stateDir, 'admin.sock'));
}

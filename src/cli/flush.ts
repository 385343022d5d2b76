// `varve flush`: returns when everything that was written before it is durable.

import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runFlush(settings: Settings): Promise<void> {
  await whileWaiting('making everything durable', runningServer(settings).flush());
}

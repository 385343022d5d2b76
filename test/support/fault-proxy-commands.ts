// A fault proxy told what to do by lines of JSON, one command each, one line of answer each.
//
//   {"set": {"faults": {"slowDown": 0.2}, "latencyMs": 30}}      replaces all settings
//   {"next": {"fault": "loseReply", "count": 3, "method": "PUT"}}
//   {"dark": "refuse" | "reset" | "blackHole"}   {"light": true}
//   {"cut": true}   {"counters": true}
//
// Answers are {"ok": true, …} or {"error": "…"}.

import { z } from 'zod';
import type { FaultProxy } from './fault-proxy.ts';
import { nextFault, proxySettings } from './fault-proxy-plan.ts';

const yes = z.literal(true);

const command = z.union([
  z.strictObject({ set: proxySettings }),
  z.strictObject({ next: nextFault }),
  z.strictObject({ dark: z.enum(['refuse', 'reset', 'blackHole']) }),
  z.strictObject({ light: yes }),
  z.strictObject({ cut: yes }),
  z.strictObject({ counters: yes }),
]);

/** Never throws: what is wrong with the line is in the answer. */
export async function obey(proxy: FaultProxy, line: string): Promise<string> {
  try {
    const result = await run(proxy, command.parse(JSON.parse(line)));
    return JSON.stringify({ ok: true, ...result });
  } catch (error) {
    const message = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    return JSON.stringify({ error: message });
  }
}

async function run(proxy: FaultProxy, wanted: z.output<typeof command>): Promise<object> {
  if ('set' in wanted) proxy.set(wanted.set);
  else if ('next' in wanted) proxy.next(wanted.next);
  else if ('dark' in wanted) await proxy.dark(wanted.dark);
  else if ('light' in wanted) await proxy.light();
  else if ('cut' in wanted) return { connections: proxy.cut() };
  else return proxy.counters();
  return {};
}

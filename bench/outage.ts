// The store goes dark under pgbench in the journal tier: what the clients notice, and how long it
// takes until the store has everything again.
//
//   node bench/outage.ts [--scale 20] [--clients 16] [--seconds 60] [--how blackHole]
//
//   pgbench  before │ dark │ after, without a pause between them; status asked for all along

import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Machine } from '../examples/postgres/machine.ts';
import { formatSize } from '../src/cli/size.ts';
import { openProxiedGateway } from '../test/support/gateway.ts';
import { startServer } from '../test/support/server.ts';

const { values } = parseArgs({
  options: {
    scale: { type: 'string', default: '20' },
    clients: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '60' },
    how: { type: 'string', default: 'blackHole' },
  },
});
const how = values.how as 'refuse' | 'reset' | 'blackHole';

/** Trailing by so little counts as drained: the clients go on meanwhile. */
const DRAINED_SECONDS = 5;
const ASK_AGAIN_MS = 500;

await using open = new AsyncDisposableStack();
const gateway = await openProxiedGateway();
open.defer(() => gateway.stop());
const { proxy } = gateway;
const server = await startServer({
  ...gateway.serverOptions('outage'),
  volumes: { disk: '8G' },
  flags: ['--durability', 'journal', '--cache-memory', '2G', '--log-level', 'warn'],
});
open.defer(() => server.remove());
const machine = new Machine({ server });
open.defer(() => machine.release());
await machine.create();
const { postgres } = machine;
await postgres.pgbenchInit(Number(values.scale));

const load = ['-c', values.clients, '-j', '2', '-T', values.seconds];
const run = async (name: string): Promise<number> => {
  const { tps, latencyMs } = await postgres.pgbench(load);
  const { lagBytes, lagSeconds, outage, journal } = await server.status();
  console.log(
    `${name.padEnd(7)} ${tps.toFixed(0)} TPS, ${latencyMs.toFixed(2)} ms; store trails by ` +
      `${formatSize(lagBytes)}, ${lagSeconds.toFixed(1)} s; ` +
      `journal ${formatSize(journal!.bytes)}; ${journal!.overflows} barriers past its bounds; ` +
      (outage === undefined ? 'the store answers' : `out for ${outage.seconds.toFixed(0)} s`),
  );
  return tps;
};

await postgres.query('CHECKPOINT');
const before = await run('before');
await proxy.dark(how);
const dark = await run('dark');
await proxy.light();
const lightMs = performance.now();
const drained = untilDrained();
const after = await run('after');
console.log(
  `dark ÷ before ${(dark / before).toFixed(2)}, after ÷ before ${(after / before).toFixed(2)}, ` +
    `drained ${((await drained) / 1000).toFixed(1)} s after the store was back`,
);
await postgres.checkBalances();
await postgres.amcheck();
await machine.shutDown();

async function untilDrained(): Promise<number> {
  for (;;) {
    const { lagSeconds } = await server.status();
    if (lagSeconds < DRAINED_SECONDS) return performance.now() - lightMs;
    await delay(ASK_AGAIN_MS);
  }
}

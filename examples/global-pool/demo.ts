// `npm run demo:global-pool [-- --scale N --seconds N --clients N]`
//
// A pool over six regions changes hands while its machine works, and cannot have two: run.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { formatTable } from '../../src/cli/text-table.ts';
import { openGateway } from '../../test/support/gateway.ts';
import { runDemo, say } from '../support/demo.ts';
import { type GlobalPoolResult, runGlobalPool } from './run.ts';

async function demo(signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    options: {
      scale: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '15' },
      clients: { type: 'string', default: '8' },
    },
  });
  const count = (name: 'scale' | 'seconds' | 'clients'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  const load = { scale: count('scale'), seconds: count('seconds'), clients: count('clients') };

  await using open = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'varve-global-'));
  open.defer(() => rm(dir, { recursive: true, force: true }));
  say('starting Ceph RGW');
  const gateway = await openGateway();
  open.defer(() => gateway.stop());
  const result = await runGlobalPool({ gateway, dir, volumeSize: '4G', signal, ...load });
  process.stdout.write(`\n${formatResult(result)}`);
}

function formatResult(result: GlobalPoolResult): string {
  const { tps, fencedSeconds, promotedSeconds, exitCodes, late, taken, end } = result;
  const rows = [
    ['TPS at eu, at us', `${tps[0].toFixed(1)}, ${tps[1].toFixed(1)}`],
    ['six stores taken over after', `${fencedSeconds.toFixed(1)} s`],
    ['PostgreSQL answers at us after', `${promotedSeconds.toFixed(1)} s`],
    ['exit codes of eu’s servers', exitCodes.join(' ')],
    ['acknowledged by eu after it was fenced', String(late)],
    ['acknowledged, found at the takeover', `${taken.acknowledged}, ${taken.found}`],
    ['acknowledged, found in the end', `${end.acknowledged}, ${end.found}`],
    ['scrub', result.scrub],
  ];
  return formatTable(rows, []);
}

process.exitCode = await runDemo(demo, EXAMPLE_PACKAGES);

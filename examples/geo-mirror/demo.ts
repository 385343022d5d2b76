// `npm run demo:geo-mirror [-- --tier store|journal|both --scale N --seconds N --clients N]`
//
// One pool whose mirror sides lie in three regions, and what happens when a region fails: run.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { openGateway } from '../../test/support/gateway.ts';
import { runDemo, say } from '../support/demo.ts';
import { formatResults } from './report.ts';
import { type GeoMirrorResult, runGeoMirror } from './run.ts';
import type { Tier } from './site.ts';

const TIERS: Readonly<Record<string, readonly Tier[]>> = {
  store: ['store'],
  journal: ['journal'],
  both: ['journal', 'store'],
};

async function demo(signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    options: {
      tier: { type: 'string', default: 'both' },
      scale: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '15' },
      clients: { type: 'string', default: '8' },
    },
  });
  const tiers = TIERS[values.tier];
  if (tiers === undefined) throw new Error('--tier must be store, journal or both');
  const count = (name: 'scale' | 'seconds' | 'clients'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  const load = { scale: count('scale'), seconds: count('seconds'), clients: count('clients') };

  await using open = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'varve-geo-'));
  open.defer(() => rm(dir, { recursive: true, force: true }));
  say('starting Ceph RGW');
  const gateway = await openGateway();
  open.defer(() => gateway.stop());
  const results = new Map<Tier, GeoMirrorResult>();
  for (const tier of tiers) {
    const options = { gateway, dir, tier, volumeSize: '8G', signal, ...load };
    results.set(tier, await runGeoMirror(options));
  }
  process.stdout.write(`\n${formatResults(results)}`);
}

process.exitCode = await runDemo(demo, EXAMPLE_PACKAGES);

// The tables of the example.

import { formatSize } from '../../src/cli/size.ts';
import { formatTable } from '../../src/cli/text-table.ts';
import type { GeoMirrorResult } from './run.ts';
import type { Tier } from './site.ts';

export function formatResults(results: ReadonlyMap<Tier, GeoMirrorResult>): string {
  return [...results].map(([tier, result]) => formatResult(tier, result)).join('\n');
}

function formatResult(tier: Tier, result: GeoMirrorResult): string {
  const { loneMs, phases, absences, ledger, scrub } = result;
  const times = phases.map(({ name, seconds, commits, stallSeconds, state }) => [
    name,
    seconds.toFixed(1),
    (commits / seconds).toFixed(1),
    stallSeconds.toFixed(2),
    state,
  ]);
  const header = [`TIER ${tier}`, 'SECONDS', 'TPS', 'LONGEST STALL', 'POOL'];
  const copies = absences.map(({ region, why, writtenBytes, resilveredBytes, storedBytes }) => [
    `${region}, ${why}`,
    formatSize(writtenBytes),
    formatSize(resilveredBytes),
    formatSize(storedBytes),
  ]);
  const copied = ['AWAY', 'WRITTEN MEANWHILE', 'RESILVERED', 'STORED'];
  return (
    `${formatTable([header, ...times], [1, 2, 3])}\n` +
    `${formatTable([copied, ...copies], [1, 2, 3])}\n` +
    `a client alone: ${loneMs.toFixed(0)} ms for a transaction\n` +
    `all ${ledger.acknowledged} acknowledged transactions are there, of ${ledger.found}; ` +
    `pg_amcheck finds nothing; ${scrub}\n`
  );
}

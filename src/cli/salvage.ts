// `varve salvage`: makes a branch of what tables and log of a damaged one allow, and says exactly
// what is missing.

import { StorageError } from '../base/errors.ts';
import { asStoreUrl, type SalvageOutcome, salvageStore } from '../offline.ts';
import type { CommandContext } from './command-context.ts';
import { realComponents } from './components.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';

const LINES_MAX = 50;

export interface SalvageRequest {
  /** Directory or URL; undefined: what --store says. */
  readonly store: string | undefined;
  readonly branch: string | undefined;
  readonly from: string | undefined;
  readonly json: boolean;
}

export async function runSalvage(
  settings: Settings,
  context: CommandContext,
  { store, branch, from, json }: SalvageRequest,
): Promise<void> {
  if (branch === undefined) {
    throw new StorageError('invalid', 'name the branch to make: --branch NAME');
  }
  const named = store === undefined ? settings : { ...settings, storeUrl: asStoreUrl(store) };
  const components = await realComponents(named, context, { newPassphrase: false });
  const outcome = await salvageStore(named, components, { branch, from });
  context.print(json ? `${JSON.stringify(outcome, null, 2)}\n` : formatOutcome(outcome));
  if (outcome.lostBytes === 0) return;
  throw new StorageError(
    'corrupt',
    `branch "${branch}" was made, but ${formatSize(outcome.lostBytes)} are lost: reading them is ` +
      'an I/O error',
  );
}

function formatOutcome(outcome: SalvageOutcome): string {
  const { source, branch, log, tablesUsed, damaged, lostSegments, lost, volumes } = outcome;
  const base = source.manifest === undefined ? 'no manifest' : `manifest ${source.manifest}`;
  const lines = [
    `branch ${branch.name} (${branch.id}) from branch ${source.id}: ${base}, ${tablesUsed} tables`,
    ...volumes.map(({ name, size }) => `volume ${name}: ${formatSize(size)}`),
    log.last === 0
      ? 'log: nothing behind the tables'
      : `log: segments ${log.first} to ${log.last} applied`,
  ];
  if (log.missingTo > 0) {
    lines.push(
      `log: segments ${log.missingFrom} to ${log.missingTo} are not there: collected, or lost`,
    );
  }
  if (log.beyond > 0) lines.push(`log: ends in a gap; ${log.beyond} commits lie behind it`);
  for (const { object, what } of damaged.slice(0, LINES_MAX)) {
    lines.push(`damaged: ${object}: ${what}`);
  }
  for (const { segment, object } of lostSegments.slice(0, LINES_MAX)) {
    lines.push(`missing: segment ${segment}: ${object ?? 'where it lay is not known'}`);
  }
  for (const { volume, inode, from, to } of lost.slice(0, LINES_MAX)) {
    const what = volume === undefined ? `file ${inode}` : `volume ${volume}`;
    lines.push(`lost: ${what}: bytes ${from} to ${to}`);
  }
  const more = Math.max(damaged.length, lostSegments.length, lost.length) - LINES_MAX;
  if (more > 0) lines.push('… and more: --json lists them');
  return lines.map((line) => `${line}\n`).join('');
}

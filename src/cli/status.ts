// `varve status [--json]`: what the running server does, for people or for scripts.

import type { StatusReport } from '../server/http/report.ts';
import type { CommandContext } from './command-context.ts';
import { runningServer } from './running-server.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';
import { whileWaiting } from './while-waiting.ts';

export async function runStatus(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const report = await whileWaiting('asking the server', runningServer(settings).status());
  context.print(asJson ? `${JSON.stringify(report, null, 2)}\n` : formatStatus(report));
}

export function formatStatus(report: StatusReport): string {
  const lag = `${formatSize(report.lagBytes)}, ${report.lagSeconds.toFixed(1)} s`;
  const { put, get, list, head, delete: deletes, bytesUp, bytesDown } = report.store;
  const facts = [
    ['version', report.version],
    ['branch', branchText(report)],
    ['durability', report.durability],
    ['commits', `${report.acknowledged} acknowledged, ${report.durable} durable in the store`],
    ['store trails by', lag],
    ['barriers', String(report.barriers)],
    ...journalFacts(report),
    ...outageFacts(report),
    ...collectionFacts(report),
    ['requests', `${put} PUT, ${get} GET, ${list} LIST, ${head} HEAD, ${deletes} DELETE`],
    ['traffic', `${formatSize(bytesUp)} up, ${formatSize(bytesDown)} down`],
    ...Object.entries(report.cache).map(([tier, numbers]) => [
      `${tier} cache`,
      Object.entries(numbers)
        .map(([name, value]) => formatNumber(name, value))
        .join(', '),
    ]),
    ...report.faces.map(({ kind, uri }) => [kind, uri]),
  ];
  return formatTable(facts, []) + causeTable(report) + volumeTable(report);
}

function branchText({ branch, snapshot, epoch }: StatusReport): string {
  return snapshot === undefined ? `${branch}, epoch ${epoch}` : `${branch}, snapshot ${snapshot}`;
}

function journalFacts({ journal }: StatusReport): readonly (readonly string[])[] {
  if (journal === undefined) return [];
  const { bytes, records, syncs, sequence, stored, overflows, failure } = journal;
  const held = `${formatSize(bytes)} used, ${sequence - stored} records the store lacks`;
  return [
    [
      'journal',
      `${held}; ${records} records, ${syncs} syncs, ${overflows} barriers past its bounds`,
    ],
    ...(failure === undefined ? [] : [['journal failed', failure]]),
  ];
}

function outageFacts({ outage }: StatusReport): readonly (readonly string[])[] {
  if (outage === undefined) return [];
  const { seconds, failures, error } = outage;
  return [['STORE FAILS', `for ${seconds.toFixed(0)} s, ${failures} attempts; the last: ${error}`]];
}

function collectionFacts({ collection }: StatusReport): readonly (readonly string[])[] {
  const { storedBytes, liveBytes, pinnedBytes, waits } = collection;
  const { movedBytes, deletedObjects, deletedBytes } = collection;
  const sizes = [
    `${formatSize(storedBytes ?? 0)} stored`,
    `${formatSize(liveBytes ?? 0)} live`,
    `${formatSize(pinnedBytes ?? 0)} kept by snapshots`,
  ];
  const freed = `${deletedObjects} objects of ${formatSize(deletedBytes)} freed`;
  return [
    ...(storedBytes === undefined ? [] : [['space', sizes.join(', ')]]),
    ['collection', `${freed}, ${formatSize(movedBytes)} moved, writers waited ${waits} times`],
  ];
}

/** A number whose name ends in its unit is shown in that unit. */
function formatNumber(name: string, value: number): string {
  if (!/bytes/i.test(name)) return `${name} ${value}`;
  return `${name.replace(/bytes/i, '') || 'used'} ${formatSize(value)}`;
}

function causeTable({ store }: StatusReport): string {
  const rows = Object.entries(store.byCause).map(([cause, one]) => [
    cause,
    String(one.put),
    String(one.get),
    String(one.list + one.head + one.delete),
    formatSize(one.bytesUp),
    formatSize(one.bytesDown),
  ]);
  if (rows.length === 0) return '';
  const header = ['REQUESTS FOR', 'PUT', 'GET', 'OTHER', 'UP', 'DOWN'];
  return `\n${formatTable([header, ...rows], [1, 2, 3, 4, 5])}`;
}

function volumeTable({ volumes }: StatusReport): string {
  if (volumes.length === 0) return '\nno volumes\n';
  const rows = volumes.map(({ name, size, used }) => [name, formatSize(size), formatSize(used)]);
  return `\n${formatTable([['VOLUME', 'SIZE', 'USED'], ...rows], [1, 2])}`;
}

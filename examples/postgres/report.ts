// What the demo measured, as one table for people.

import type { StatusReport } from '../../src/server/http/report.ts';

export interface Row {
  readonly run: string;
  readonly seconds: number;
  readonly tps?: number;
  readonly latencyMs?: number;
  readonly before: StatusReport;
  readonly after: StatusReport;
}

const MIB = 1024 * 1024;
const HEADER = [
  'RUN',
  'SECONDS',
  'TPS',
  'LATENCY',
  'BARRIERS',
  'PUT LOG',
  'PUT TABLE',
  'GET DATA',
  'GET TABLE',
  'MIB UP',
  'MIB DOWN',
];

/** One line per run. Requests are those that really went out during it, by what they were for. */
export function formatRuns(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const requests = difference(row.before, row.after);
    return [
      row.run,
      row.seconds.toFixed(1),
      row.tps?.toFixed(0) ?? '',
      row.latencyMs === undefined ? '' : `${row.latencyMs.toFixed(2)} ms`,
      String(requests.barriers),
      String(requests.putLog),
      String(requests.putTable),
      String(requests.getData),
      String(requests.getTable),
      (requests.bytesUp / MIB).toFixed(1),
      (requests.bytesDown / MIB).toFixed(1),
    ];
  });
  const widths = HEADER.map((title, column) =>
    Math.max(title.length, ...lines.map((line) => line[column]!.length)),
  );
  const align = (line: readonly string[]): string =>
    line
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [HEADER, ...lines].map((line) => `${align(line)}\n`).join('');
}

function difference(before: StatusReport, after: StatusReport) {
  const count = (kind: 'put' | 'get', ...causes: readonly string[]): number =>
    causes.reduce((sum, cause) => {
      const [from, to] = [before, after].map((one) => one.store.byCause[cause]?.[kind] ?? 0);
      return sum + to! - from!;
    }, 0);
  return {
    barriers: after.barriers - before.barriers,
    putLog: count('put', 'barrier'),
    putTable: count('put', 'flush', 'compaction'),
    getData: count('get', 'read'),
    getTable: count('get', 'lookup', 'compaction'),
    bytesUp: after.store.bytesUp - before.store.bytesUp,
    bytesDown: after.store.bytesDown - before.store.bytesDown,
  };
}

export interface Space {
  readonly objects: number;
  readonly bucketBytes: number;
  /** What the blocks of the volume hold that are not holes. */
  readonly volumeBytes: number;
  readonly databaseBytes: number;
}

export function formatSpace({ objects, bucketBytes, volumeBytes, databaseBytes }: Space): string {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
  const ratio = (bucketBytes / volumeBytes).toFixed(2);
  return (
    `bucket: ${mib(bucketBytes)} in ${objects} objects; the volume holds ${mib(volumeBytes)} ` +
    `(× ${ratio}), PostgreSQL's databases ${mib(databaseBytes)}\n`
  );
}

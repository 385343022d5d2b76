// What the benches print: progress on stderr, tables and plots on stdout, samples as CSV.

import { writeFile } from 'node:fs/promises';
import { formatSize } from '../../../src/cli/size.ts';

const MIB = 1024 * 1024;
const BAR_COLUMNS = 56;
/** More samples than this are drawn as the largest of each group. */
const PLOT_LINES_MAX = 60;

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

export interface PlotPoint {
  readonly label: string;
  readonly value: number;
}

/** One line per point, or per group of points when there are many. */
export function plot(
  title: string,
  points: readonly PlotPoint[],
  format: (value: number) => string,
): string {
  const group = Math.ceil(points.length / PLOT_LINES_MAX);
  const drawn: PlotPoint[] = [];
  for (let at = 0; at < points.length; at += group) {
    drawn.push(points.slice(at, at + group).reduce((a, b) => (b.value > a.value ? b : a)));
  }
  const most = Math.max(...drawn.map(({ value }) => value), Number.MIN_VALUE);
  const labels = Math.max(...drawn.map(({ label }) => label.length));
  const values = Math.max(...drawn.map(({ value }) => format(value).length));
  const lines = drawn.map(({ label, value }) => {
    const bar = '█'.repeat(Math.round((value / most) * BAR_COLUMNS));
    return `${label.padStart(labels)}  ${format(value).padStart(values)}  ${bar}`;
  });
  const note = group === 1 ? '' : `, the largest of every ${group} samples`;
  return `\n${title}${note}\n${lines.join('\n')}\n`;
}

/** A column per key of the first row. */
export async function writeCsv<Row extends object>(
  path: string | undefined,
  rows: readonly Row[],
): Promise<void> {
  const first = rows[0];
  if (path === undefined || first === undefined) return;
  const lines = rows.map((row) => Object.values(row).join(','));
  await writeFile(path, `${[Object.keys(first).join(','), ...lines].join('\n')}\n`);
  say(`${rows.length} samples in ${path}`);
}

export function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

export function rate(bytes: number, seconds: number): string {
  return `${(bytes / MIB / seconds).toFixed(0)} MiB/s`;
}

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

export { formatSize };

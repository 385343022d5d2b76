// What was measured, as tables for people.

import type { Answers, Layers } from './layers.ts';
import type { Recovery, Run, Space } from './scenario.ts';

const MIB = 1024 * 1024;

type Line = readonly string[];

export function formatTps(runs: readonly Run[]): string {
  const header = ['TPS, LATENCY', 'VARVE', 'MS', 'FILE', 'MS', 'RATIO'];
  const lines = runs.map(({ name, onVarve, onFile }) => [
    name,
    onVarve.tps.toFixed(0),
    onVarve.latencyMs.toFixed(1),
    onFile?.tps.toFixed(0) ?? '',
    onFile?.latencyMs.toFixed(1) ?? '',
    onFile === undefined ? '' : (onVarve.tps / onFile.tps).toFixed(2),
  ]);
  return formatTable([header, ...lines]);
}

/** Each cell: what the layer answered, and its part of what it was asked. */
export function formatReads(runs: readonly Run[]): string {
  const header = ['READS ANSWERED BY', 'BUFFERS', 'ARC', 'L2ARC', 'VARVE RAM', 'VARVE DISK', 'S3'];
  const lines = runs.flatMap(({ name, onVarve, onFile }) => [
    [name, ...readsOf(onVarve.layers)],
    ...(onFile === undefined ? [] : [['  on a local file', ...readsOf(onFile.layers)]]),
  ]);
  return formatTable([header, ...lines]);
}

function readsOf({ buffers, arc, l2arc, varve }: Layers): Line {
  const zfs = [share(buffers), share(arc), share(l2arc)];
  if (varve === undefined) return [...zfs, '', '', ''];
  return [...zfs, share(varve.memory), share(varve.disk), String(varve.getsOfData)];
}

function share({ hits, misses }: Answers): string {
  const asked = hits + misses;
  return asked === 0 ? '0' : `${hits} (${((100 * hits) / asked).toFixed(0)} %)`;
}

export function formatTraffic(runs: readonly Run[]): string {
  const header = [
    'THE VOLUME',
    'READS',
    'MIB READ',
    'MIB WRITTEN',
    'BARRIERS',
    'PUT LOG',
    'GET DATA',
    'GET TABLE',
    'MIB UP',
    'MIB DOWN',
  ];
  const lines = runs.map(({ name, onVarve: { layers } }) => [
    name,
    String(layers.deviceReads),
    mib(layers.deviceReadBytes),
    mib(layers.deviceWrittenBytes),
    String(layers.varve?.barriers ?? ''),
    String(layers.varve?.putsOfLog ?? ''),
    String(layers.varve?.getsOfData ?? ''),
    String(layers.varve?.getsOfTables ?? ''),
    mib(layers.varve?.bytesUp ?? 0),
    mib(layers.varve?.bytesDown ?? 0),
  ]);
  return formatTable([header, ...lines]);
}

export function formatRecovery(recovery: Recovery): string {
  const { acknowledged, unacknowledged, seconds, scrub } = recovery;
  return (
    `kill -9 under load: ${acknowledged} of ${acknowledged} acknowledged commits are there, ` +
    `${unacknowledged} besides; ${seconds.toFixed(1)} s until PostgreSQL answered again\n` +
    `${scrub}\n`
  );
}

export function formatSpace({ before, dropped, filled }: Space): string {
  const header = ['MIB IN USE', 'VOLUME', 'BUCKET'];
  const lines = Object.entries({
    before,
    'tables dropped': dropped,
    'free space filled with zeroes': filled,
  }).map(([name, { volume, bucket }]) => [name, mib(volume), mib(bucket)]);
  return formatTable([header, ...lines]);
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

/** The first column stands left, the others right. */
function formatTable(lines: readonly Line[]): string {
  const widths = lines[0]!.map((_, column) =>
    Math.max(...lines.map((line) => line[column]!.length)),
  );
  const align = (line: Line): string =>
    line
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return lines.map((line) => `${align(line)}\n`).join('');
}

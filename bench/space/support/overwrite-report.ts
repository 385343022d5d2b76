// What the overwrite bench says of its samples: a table, the plots, the verdict.

import { printTable } from '../../device.ts';
import { formatSize, mib, plot, say } from './output.ts';

const TABLE_ROWS_MAX = 24;

export interface Sample {
  readonly seconds: number;
  /** `held`: a snapshot is. `idle`: nobody writes any more. */
  readonly phase: 'free' | 'held' | 'deleted' | 'idle';
  /** Overwritten since the volume was filled, and uploaded since. */
  readonly userBytes: number;
  readonly putBytes: number;
  readonly bucketBytes: number;
  readonly objects: number;
  readonly liveBytes: number;
  /** Bucket ÷ live. */
  readonly factor: number;
  /** Uploaded ÷ written, since the last sample and since the start. */
  readonly windowAmplification: number;
  readonly amplification: number;
  /** Of the writes since the last sample. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly residentBytes: number;
}

export function reportOverwrite(samples: readonly Sample[], stopped: string | undefined): void {
  const step = Math.ceil(samples.length / TABLE_ROWS_MAX);
  printTable(
    ['time', 'phase', 'written', 'put', 'bucket', 'objects', '÷ live', 'WA', 'p50', 'p99', 'RSS'],
    samples
      .filter((_, at) => at % step === 0 || at === samples.length - 1)
      .map((one) => [
        `${one.seconds.toFixed(0)} s`,
        one.phase,
        formatSize(one.userBytes),
        formatSize(one.putBytes),
        mib(one.bucketBytes),
        String(one.objects),
        one.factor.toFixed(2),
        one.windowAmplification.toFixed(2),
        `${one.p50Ms.toFixed(2)} ms`,
        `${one.p99Ms.toFixed(1)} ms`,
        mib(one.residentBytes),
      ]),
  );
  const label = (one: Sample): string => `${one.seconds.toFixed(0)} s ${one.phase.padEnd(7)}`;
  say(
    plot(
      'bucket ÷ live',
      samples.map((one) => ({ label: label(one), value: one.factor })),
      (value) => value.toFixed(2),
    ),
  );
  if (stopped !== undefined) say(`stopped early: ${stopped}`);
  for (const line of verdict(samples)) say(line);
}

/** Lines for people and for grep. */
export function verdict(samples: readonly Sample[]): string[] {
  const last = samples.at(-1);
  if (last === undefined || last.userBytes === 0) return ['nothing was overwritten'];
  const half = samples.find((one) => one.userBytes >= last.userBytes / 2) ?? last;
  const user = last.userBytes - half.userBytes;
  const steady = user === 0 ? last.amplification : (last.putBytes - half.putBytes) / user;
  const lines = [
    `write amplification: ${steady.toFixed(2)} in the last half, ` +
      `${last.amplification.toFixed(2)} overall`,
  ];
  for (const phase of ['free', 'held', 'deleted', 'idle'] as const) {
    const own = samples.filter((one) => one.phase === phase);
    if (own.length === 0) continue;
    const most = Math.max(...own.map((one) => one.factor));
    lines.push(
      `bucket ÷ live, ${phase}: at most ${most.toFixed(2)}, in the end ` +
        `${own.at(-1)!.factor.toFixed(2)}`,
    );
  }
  // The few writes of the last instant before it was idle say nothing of a percentile.
  const slowest = Math.max(...samples.map(({ phase, p99Ms }) => (phase === 'idle' ? 0 : p99Ms)));
  const memory = Math.max(...samples.map((one) => one.residentBytes));
  lines.push(
    `slowest p99 of a window: ${slowest.toFixed(1)} ms; largest resident size: ${mib(memory)}`,
  );
  return lines;
}

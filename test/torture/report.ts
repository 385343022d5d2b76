// One line per round, and the table at the end.

import type { FaultProxyCounters } from '../support/fault-proxy.ts';
import type { RoundResult } from './round.ts';

export function roundLine(round: number, rounds: number, result: RoundResult): string {
  const { what, acknowledged, found, ordered, recoverySeconds, seconds } = result;
  const how = result.crashed ? `recovered in ${recoverySeconds.toFixed(1)} s` : 'nobody noticed';
  return (
    `round ${round}/${rounds}: ${what}: ${how}; ${result.transactions} transactions; ` +
    `in all ${acknowledged} acknowledged, ${found} found; ${ordered} ordered writes; ` +
    `${seconds.toFixed(1)} s`
  );
}

export function finalTable(
  results: readonly RoundResult[],
  counters: FaultProxyCounters | undefined,
): string {
  const kinds = [...new Set(results.map(({ kind }) => kind))];
  const rows = kinds.map((kind) => {
    const those = results.filter((one) => one.kind === kind);
    const sum = (of: (one: RoundResult) => number): number =>
      those.reduce((total, one) => total + of(one), 0);
    const crashes = those.filter(({ crashed }) => crashed).length;
    const recovery = crashes === 0 ? '' : (sum((one) => one.recoverySeconds) / crashes).toFixed(1);
    return [kind, those.length, crashes, sum((one) => one.transactions), recovery];
  });
  const head = ['disturbance', 'rounds', 'crashes', 'transactions', 'recovery, s'];
  const lines = [head, ...rows].map((row) =>
    row.map((cell, i) => (i === 0 ? `${cell}`.padEnd(14) : `${cell}`.padStart(13))).join(''),
  );
  const total = results.reduce((sum, one) => sum + one.transactions, 0);
  lines.push(`${results.length} rounds, ${total} acknowledged transactions, none missing`);
  if (counters !== undefined) {
    const faults = Object.entries(counters.faults).map(([name, count]) => `${name} ${count}`);
    lines.push(
      `${counters.requests} requests, ${counters.connectionsCut} connections cut, ` +
        `${counters.serverFailures} without the server's answer; ${faults.join(', ')}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

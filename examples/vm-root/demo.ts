// `npm run demo:vm-root [-- --store URL --files N --reconnect SECONDS]`
//
// A guest whose root is a volume lives through a restart and an upgrade of the server, and is told
// of a crash: run.ts says what is done.

import { parseArgs } from 'node:util';
import { EXAMPLE_PACKAGES } from '../../scripts/debian-packages.ts';
import { runDemo } from '../support/demo.ts';
import { type Phase, runVmRoot, type VmRootOptions } from './run.ts';

/** A gateway of our own: Ceph's. */
const GATEWAY = 'gateway';

function readOptions(args: readonly string[], signal: AbortSignal): VmRootOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      store: { type: 'string', default: 'file:' },
      's3-endpoint': { type: 'string' },
      files: { type: 'string', default: '50' },
      reconnect: { type: 'string', default: '30' },
    },
  });
  const count = (name: 'files' | 'reconnect'): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value > 0) return value;
    throw new Error(`--${name} must be a whole number above 0`);
  };
  return {
    store: values.store === GATEWAY ? undefined : values.store,
    endpoint: values['s3-endpoint'],
    files: count('files'),
    reconnectSeconds: count('reconnect'),
    signal,
  };
}

function formatPhases(phases: readonly Phase[]): string {
  const rows = phases.map((phase) => [
    phase.name,
    phase.seconds.toFixed(1),
    phase.stallSeconds.toFixed(1),
    ...[phase.files, phase.puts, phase.gets].map(String),
  ]);
  const head = ['', 'seconds', 'stall', 'files', 'PUT', 'GET'];
  const lines = [head, ...rows].map(([name, ...numbers]) =>
    [name!.padEnd(24), ...numbers.map((text) => text.padStart(8))].join(''),
  );
  return `${lines.join('\n')}\n`;
}

process.exitCode = await runDemo(async (signal) => {
  const result = await runVmRoot(readOptions(process.argv.slice(2), signal));
  process.stdout.write(
    `\n${formatPhases(result.phases)}\n` +
      `all ${result.ordered} files that the guest called durable before its end in order are ` +
      `there, and all ${result.crashed} before its disk failed\n`,
  );
}, EXAMPLE_PACKAGES);

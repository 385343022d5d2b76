// `node scripts/fault-proxy.ts --listen PORT --to HOST:PORT [--latency MS] [--jitter MS]
//    [--rate BYTES_PER_SECOND] [--fault NAME=PROBABILITY]… [--seed N]`
//
// An S3 server with a bad network in front of it: point `--s3-endpoint` at it. Prints one line when
// it listens, then takes commands as lines of JSON on standard input (docs/testing.md lists them)
// and answers each with a line. Ends on Ctrl-C.

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startFaultProxy } from '../test/support/fault-proxy.ts';
import { obey } from '../test/support/fault-proxy-commands.ts';
import { FAULTS, type ProxySettingsInput } from '../test/support/fault-proxy-plan.ts';

const USAGE = `usage: fault-proxy.ts --listen PORT --to HOST:PORT [--latency MS] [--jitter MS]
  [--rate BYTES_PER_SECOND] [--fault NAME=PROBABILITY]... [--seed N]
faults: ${FAULTS.join(' ')}
`;

function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      listen: { type: 'string' },
      to: { type: 'string' },
      latency: { type: 'string', default: '0' },
      jitter: { type: 'string', default: '0' },
      rate: { type: 'string', default: '0' },
      fault: { type: 'string', multiple: true, default: [] },
      seed: { type: 'string', default: '1' },
    },
  });
  const to = /^(.+):(\d+)$/.exec(values.to ?? '');
  if (values.listen === undefined || to === null) throw new Error('--listen and --to are needed');
  const faults = Object.fromEntries(
    values.fault.map((one) => {
      const [name = '', probability = ''] = one.split('=');
      return [name, Number(probability)];
    }),
  );
  const settings: ProxySettingsInput = {
    faults,
    latencyMs: Number(values.latency),
    jitterMs: Number(values.jitter),
    bytesPerSecond: Number(values.rate),
  };
  return {
    proxy: {
      host: to[1]!,
      port: Number(to[2]),
      listenPort: Number(values.listen),
      seed: Number(values.seed),
    },
    settings,
  };
}

async function main(): Promise<void> {
  const { proxy: options, settings } = readOptions(process.argv.slice(2));
  const proxy = await startFaultProxy(options);
  proxy.set(settings);
  process.stdout.write(`listening on ${proxy.endpoint}, to ${options.host}:${options.port}\n`);
  const lines = createInterface({ input: process.stdin });
  process.once('SIGINT', () => {
    lines.close();
    void proxy.close();
  });
  for await (const line of lines) {
    if (line.trim() !== '') process.stdout.write(`${await obey(proxy, line)}\n`);
  }
}

try {
  await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`fault-proxy: ${message}\n${USAGE}`);
  process.exitCode = 2;
}

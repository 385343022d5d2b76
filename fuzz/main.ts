// Fuzzes the decoders of everything that comes from outside.
//
//   node fuzz/main.ts [--target NAME]… [--seconds N | --messages N] [--seed N] [--workers N]
//                     [--corpus DIR] [--save]
//   node fuzz/main.ts --target NAME --replay FILE
//
// Each target gets so many seconds, or so many inputs. `--save` writes new inputs that reach new
// code to the corpus. A finding is put into fuzz/findings; the exit code is then 1.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/base/system.ts';
import { CORPUS_DIRECTORY, writeFinding } from './corpus.ts';
import type { Report } from './loop.ts';
import { replay, runTarget, type SupervisorDeps } from './supervisor.ts';
import { TARGET_NAMES } from './targets.ts';

const SECONDS_DEFAULT = 10;

const { values } = parseArgs({
  options: {
    target: { type: 'string', multiple: true },
    seconds: { type: 'string' },
    messages: { type: 'string' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '1' },
    corpus: { type: 'string', default: CORPUS_DIRECTORY },
    save: { type: 'boolean', default: false },
    replay: { type: 'string' },
  },
});

function say(text: string): void {
  process.stdout.write(`fuzz ${text}\n`);
}

const deps: SupervisorDeps = {
  clock: systemClock,
  onFailure(target, failure, input) {
    const path = writeFinding(target, input);
    say(`${target}: FOUND ${failure.detail}\n  ${input.length} bytes in ${path}`);
  },
};

function summary(name: string, report: Report): string {
  const { inputs, messages, refused, seconds, corpus, coveredCharacters, failures } = report;
  const rate = Math.round(messages / Math.max(seconds, 0.001));
  const share = ((refused / Math.max(inputs, 1)) * 100).toFixed(1);
  return (
    `${name}: ${inputs} inputs with ${messages} messages in ${seconds.toFixed(1)} s ` +
    `(${rate} messages/s), ${share} % refused, ` +
    `corpus ${corpus}, covered ${coveredCharacters}, ${failures} failures`
  );
}

async function main(): Promise<number> {
  const targets = values.target ?? TARGET_NAMES;
  const common = { seed: Number(values.seed), corpus: values.corpus, save: values.save };
  const untold = values.messages === undefined ? SECONDS_DEFAULT : Infinity;
  const seconds = Number(values.seconds ?? untold);
  const budget = { seconds, messages: Number(values.messages ?? Infinity) };
  let failures = 0;
  if (values.replay !== undefined) {
    const input = new Uint8Array(readFileSync(values.replay));
    const shown: SupervisorDeps = {
      ...deps,
      onFailure: (target, { detail }) => say(`${target}: ${detail}`),
    };
    for (const target of targets) {
      failures += await replay(shown, { ...common, target, budget }, input);
      say(`${target}: ${failures === 0 ? 'no failure' : 'FAILED'}`);
    }
    return failures === 0 ? 0 : 1;
  }
  const waiting = [...targets];
  const work = async (): Promise<void> => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const report = await runTarget(deps, { ...common, target, budget });
      failures += report.failures;
      say(summary(target, report));
    }
  };
  await Promise.all(Array.from({ length: Number(values.workers) }, work));
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main();

// npm run sim -- --seed N [--verbose]           replays one seed, with a trace
//               --seeds A..B [--workers N]      runs many
//               --mutants [--seeds A..B]        plants bugs and sees whether they are found
//
// Exit 1 when a seed fails, or when a planted bug is not found.

import { parseArgs } from 'node:util';
import { MUTANTS } from './mutant-list.ts';
import { tryMutant } from './mutants.ts';
import { createNewStores } from './new-stores.ts';
import { runSeeds, type SeedRange } from './run-seeds.ts';
import { runSeed } from './scenario.ts';

const PROGRESS_SEEDS = 100;

async function replay(seed: number, isVerbose: boolean): Promise<boolean> {
  try {
    const onTrace = isVerbose ? (line: string) => console.log(line) : undefined;
    const result = await runSeed(seed, createNewStores(), onTrace);
    console.log(JSON.stringify(result));
    console.log(`seed ${seed} passed`);
    return true;
  } catch (error) {
    console.log(`seed ${seed} FAILED: ${error instanceof Error ? error.message : String(error)}`);
    if (isVerbose && error instanceof Error) console.log(error.cause ?? error.stack);
    return false;
  }
}

async function runMany(range: SeedRange, workers: number): Promise<boolean> {
  const startMs = performance.now();
  const seconds = (): string => ((performance.now() - startMs) / 1000).toFixed(1);
  const { passed, failure } = await runSeeds(range, {
    workers,
    onDone: (count) => {
      if (count % PROGRESS_SEEDS === 0) console.log(`${count} seeds, ${seconds()} s`);
    },
  });
  if (failure === undefined) {
    console.log(`${passed} seeds passed in ${seconds()} s`);
    return true;
  }
  console.log(`seed ${failure.seed} FAILED: ${failure.message}`);
  console.log(`replay it: npm run sim -- --seed ${failure.seed} --verbose`);
  return false;
}

async function runMutants(range: SeedRange, workers: number, only?: string): Promise<boolean> {
  let survivors = 0;
  for (const mutant of MUTANTS) {
    if (only !== undefined && mutant.name !== only) continue;
    const { passed, failure } = await tryMutant(mutant, range, workers);
    if (failure === undefined) {
      survivors += 1;
      console.log(`SURVIVED  ${mutant.name}: ${passed} seeds`);
    } else {
      console.log(`caught    ${mutant.name}: seed ${failure.seed}: ${failure.message}`);
    }
  }
  console.log(survivors === 0 ? 'every mutant was caught' : `${survivors} mutants survived`);
  return survivors === 0;
}

function parseRange(text: string): SeedRange {
  const match = /^(\d+)\.\.(\d+)$/.exec(text);
  if (match === null) throw new Error(`not a range of seeds: "${text}"; write it as 1..1000`);
  return { from: Number(match[1]), to: Number(match[2]) };
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      workers: { type: 'string', default: '2' },
      verbose: { type: 'boolean', default: false },
      mutants: { type: 'boolean', default: false },
      mutant: { type: 'string' },
    },
  });
  const workers = Number(values.workers);
  if (values.mutants || values.mutant !== undefined) {
    return runMutants(parseRange(values.seeds ?? '1..400'), workers, values.mutant);
  }
  if (values.seed !== undefined) return replay(Number(values.seed), values.verbose);
  return runMany(parseRange(values.seeds ?? '1..200'), workers);
}

process.exitCode = (await main()) ? 0 : 1;

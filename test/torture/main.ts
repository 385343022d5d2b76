// `npm run torture [-- --rounds N --tier store|journal --store s3|file --scale N --seed N]`
//
// PostgreSQL on a volume, crashed and disturbed again and again, and after each time asked for
// every transaction that it had acknowledged (docs/testing.md). The first failure ends the run with
// exit code 1 and names the folder with the evidence. Needs root. Whatever it started it ends, also
// on Ctrl-C.

import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianPackages } from '../../scripts/debian-packages.ts';
import { createSeededRng, type Rng } from '../../src/base/rng.ts';
import { failureText } from '../support/failure-text.ts';
import { type Disturbance, disturbancesFor } from './disturbances.ts';
import { keepEvidence } from './evidence.ts';
import { type Options, readOptions, USAGE } from './options.ts';
import { finalTable, roundLine } from './report.ts';
import { type RoundResult, runRound } from './round.ts';
import { createWorld, type Ground, startNetwork, type World } from './world.ts';

/** Then a new store: what old rounds left behind must matter, but not for ever. */
const ROUNDS_PER_STORE = 10;
const SEED_MAX = 2 ** 31;

async function torture(options: Options, folder: string, signal: AbortSignal): Promise<void> {
  await using open = new AsyncDisposableStack();
  const { seed, store } = options;
  const network = store === 's3' ? await startNetwork(folder, seed, open) : undefined;
  const ground: Ground = { folder, options, signal, network };
  const rng = createSeededRng(seed);
  const bag = shuffledBag(disturbancesFor(options), rng);
  const results: RoundResult[] = [];
  for (let generation = 1; results.length < options.rounds; generation++) {
    const rounds = Math.min(ROUNDS_PER_STORE, options.rounds - results.length);
    await runGeneration(ground, generation, rounds, (world) => async () => {
      const result = await runRound(world, bag(), rng);
      results.push(result);
      say(roundLine(results.length, options.rounds, result));
    });
  }
  process.stdout.write(`\n${finalTable(results, network?.proxy.counters())}`);
}

async function runGeneration(
  ground: Ground,
  generation: number,
  rounds: number,
  roundOf: (world: World) => () => Promise<void>,
): Promise<void> {
  await using open = new AsyncDisposableStack();
  let world: World | undefined;
  try {
    world = await createWorld(ground, generation, open);
    say(`store ${generation}: PostgreSQL runs on ext4 on ${world.machine.how}`);
    const round = roundOf(world);
    for (let i = 0; i < rounds; i++) {
      ground.signal.throwIfAborted();
      await round();
    }
    await world.shutDown();
  } catch (error) {
    if (!ground.signal.aborted) await keepEvidence(ground, world, error);
    throw error;
  }
}

/** All of them, in any order, before one comes again. */
function shuffledBag(all: readonly Disturbance[], rng: Rng): () => Disturbance {
  let bag: Disturbance[] = [];
  return () => {
    if (bag.length === 0) bag = [...all];
    return bag.splice(Math.floor(rng.float() * bag.length), 1)[0]!;
  };
}

function say(line: string): void {
  const seconds = (performance.now() / 1000).toFixed(1).padStart(6);
  process.stdout.write(`[${seconds} s] ${line}\n`);
}

async function main(): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => {
    say('cleaning up');
    interrupt.abort(new Error('interrupted'));
  };
  let options: Options;
  try {
    options = readOptions(process.argv.slice(2), randomInt(1, SEED_MAX));
    disturbancesFor(options);
  } catch (error) {
    process.stderr.write(`torture: ${failureText(error)}\n${USAGE}`);
    return 2;
  }
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const folder = await mkdtemp(join(tmpdir(), 'varve-torture-'));
  try {
    if (process.getuid?.() !== 0) throw new Error('attaching a block device takes root: use sudo');
    ensureDebianPackages(say);
    say(`tier ${options.tier}, store ${options.store}, --seed ${options.seed}`);
    await torture(options, folder, interrupt.signal);
    await rm(folder, { recursive: true });
    return 0;
  } catch (error) {
    if (interrupt.signal.aborted && !(error instanceof SuppressedError)) {
      await rm(folder, { recursive: true });
      process.stderr.write('torture: interrupted\n');
    } else {
      process.stderr.write(`torture: FAILED: ${failureText(error)}\nevidence: ${folder}\n`);
    }
    return 1;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

process.exitCode = await main();

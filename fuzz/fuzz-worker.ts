// The thread in which one target is fuzzed, so that an input that never ends can be stopped.

import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../src/base/system.ts';
import { readCorpus, writeCorpus } from './corpus.ts';
import { type Budget, Loop, type Report } from './loop.ts';
import type { Failure } from './target.ts';
import { loadTarget } from './targets.ts';
import { createWatch } from './watch.ts';

/** What a thread is told. */
export interface Job {
  readonly target: string;
  readonly seed: number;
  readonly budget: Budget;
  readonly corpus: string;
  readonly save: boolean;
  /** Makes everything from these, and looks for nothing new: a Loop that is not guided. */
  readonly given: readonly Uint8Array[] | undefined;
  /** Runs this alone, instead of fuzzing. */
  readonly replay: Uint8Array | undefined;
  readonly memory: SharedArrayBuffer;
}

/** What it tells. */
export type Answer =
  | { readonly failure: Failure; readonly input: Uint8Array }
  | { readonly report: Report; readonly corpus: readonly Uint8Array[] };

const job = workerData as Job;
const target = await loadTarget(job.target);
const tell = (answer: Answer): void => parentPort!.postMessage(answer);
const deps = {
  clock: systemClock,
  watch: createWatch(job.memory),
  onFailure: (failure: Failure, input: Uint8Array) => tell({ failure, input }),
};
const loop = new Loop(deps, target, job.seed, job.given === undefined);
if (job.replay === undefined) {
  const stored = job.given ?? readCorpus(job.corpus, job.target);
  await loop.run(stored, job.budget);
  if (job.save && job.given === undefined) await save(stored);
} else {
  const failure = await loop.runOne(job.replay);
  if (failure !== undefined) tell({ failure, input: job.replay });
  await target.close?.();
}
tell({ report: loop.report, corpus: loop.corpus });

/** Keeps what reaches code that neither the seeds nor anything smaller reaches. */
async function save(stored: readonly Uint8Array[]): Promise<void> {
  const fresh = await loadTarget(job.target);
  const seeds = new Set((await fresh.seeds()).map(hex));
  const smallest = new Loop(deps, fresh, job.seed);
  await smallest.run([...stored, ...loop.corpus], { seconds: Infinity, messages: 0 });
  const kept = smallest.corpus.filter((input) => !seeds.has(hex(input)));
  writeCorpus(job.corpus, job.target, kept);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

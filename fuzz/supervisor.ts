// Runs targets in threads, and stops what hangs: an input that runs HANG_MS is run once more,
// alone; if it does not end then either it is a finding. The target goes on in a new thread.
//
// A run by messages has two parts: GUIDED_MESSAGES with an eye on coverage, then all the others in
// a new thread, made from what the first part kept, at full speed.

import { Worker } from 'node:worker_threads';
import type { Clock } from '../src/base/clock.ts';
import { messageOf } from '../src/base/errors.ts';
import type { Answer, Job } from './fuzz-worker.ts';
import type { Budget, Report } from './loop.ts';
import type { Failure } from './target.ts';
import { createWatcher, createWatchMemory } from './watch.ts';

const HANG_MS = 2000;
/** A machine that is busy with other work is slow, not stuck. */
const CONFIRM_MS = 8000;
/** What one thread may take: an input that wants more is a finding, not the end of the process. */
const THREAD_MIB_MAX = 1024;
/** What is new comes early: nearly all of it within the first tenth of these. */
const GUIDED_MESSAGES = 500_000;
/** Threads that may be lost before a target is given up. */
const LOST_MAX = 5;

export interface TargetRun {
  readonly target: string;
  readonly seed: number;
  readonly budget: Budget;
  readonly corpus: string;
  readonly save: boolean;
}

export interface SupervisorDeps {
  readonly clock: Clock;
  readonly onFailure: (target: string, failure: Failure, input: Uint8Array) => void;
}

/** Fuzzes one target until its budget is used. */
export async function runTarget(deps: SupervisorDeps, run: TargetRun): Promise<Report> {
  const { seconds, messages } = run.budget;
  if (messages === Infinity || messages <= GUIDED_MESSAGES)
    return (await runPart(deps, run, undefined)).report;
  const guided = { ...run, budget: { seconds, messages: GUIDED_MESSAGES } };
  const first = await runPart(deps, guided, undefined);
  // Given up.
  if (first.corpus.length === 0) return first.report;
  const left = {
    seconds: seconds - first.report.seconds,
    messages: messages - first.report.messages,
  };
  const seed = run.seed + LOST_MAX;
  const { report } = await runPart(deps, { ...run, seed, budget: left }, first.corpus);
  return {
    inputs: first.report.inputs + report.inputs,
    messages: first.report.messages + report.messages,
    refused: first.report.refused + report.refused,
    seconds: first.report.seconds + report.seconds,
    corpus: first.report.corpus,
    coveredCharacters: first.report.coveredCharacters,
    failures: first.report.failures + report.failures,
  };
}

interface Done {
  readonly report: Report;
  readonly corpus: readonly Uint8Array[];
}

async function runPart(deps: SupervisorDeps, run: TargetRun, given: Job['given']): Promise<Done> {
  const total: Report = {
    inputs: 0,
    messages: 0,
    refused: 0,
    seconds: 0,
    corpus: 0,
    coveredCharacters: 0,
    failures: 0,
  };
  let { seconds } = run.budget;
  for (let lost = 0; lost < LOST_MAX; lost++) {
    const startMs = deps.clock.monotonicMs();
    const budget = { seconds, messages: run.budget.messages };
    const job = { ...run, seed: run.seed + lost, budget, given, replay: undefined };
    const end = await runThread(deps, run.target, job, HANG_MS);
    if ('report' in end) {
      const { report, corpus } = end;
      return { report: { ...report, failures: report.failures + total.failures }, corpus };
    }
    total.failures += 1;
    const spent = (deps.clock.monotonicMs() - startMs) / 1000;
    total.seconds += spent;
    seconds -= spent;
    const real = end.cause !== 'hang' || (await replay(deps, run, end.input)) > 0;
    if (real) deps.onFailure(run.target, { cause: end.cause, detail: end.detail }, end.input);
    else total.failures -= 1;
    if (seconds <= 0) break;
  }
  return { report: total, corpus: [] };
}

/** Runs one input. The count of failures; each is reported but a hang. */
export async function replay(
  deps: SupervisorDeps,
  run: TargetRun,
  input: Uint8Array,
): Promise<number> {
  let failures = 0;
  const counting: SupervisorDeps = {
    ...deps,
    onFailure(target, failure, shown) {
      failures += 1;
      deps.onFailure(target, failure, shown);
    },
  };
  const job = { ...run, given: undefined, replay: input };
  const end = await runThread(counting, run.target, job, CONFIRM_MS);
  return 'report' in end ? failures : 1;
}

interface Lost {
  readonly cause: string;
  readonly detail: string;
  readonly input: Uint8Array;
}

type End = Done | Lost;

async function runThread(
  deps: SupervisorDeps,
  target: string,
  job: Omit<Job, 'memory'>,
  hangMs: number,
): Promise<End> {
  const memory = createWatchMemory();
  const watcher = createWatcher(memory);
  const { promise, resolve } = Promise.withResolvers<End>();
  const worker = new Worker(new URL('./fuzz-worker.ts', import.meta.url), {
    workerData: { ...job, memory },
    resourceLimits: { maxOldGenerationSizeMb: THREAD_MIB_MAX },
  });
  worker.on('message', (answer: Answer) => {
    if ('report' in answer) resolve(answer);
    else deps.onFailure(target, answer.failure, answer.input);
  });
  worker.on('error', (error) => {
    const detail = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
    resolve({ cause: `thread lost: ${messageOf(error)}`, detail, input: watcher.input() });
  });
  let cancel = deps.clock.after(hangMs, look);
  function look(): void {
    if (watcher.stuck()) {
      const detail = `no end after ${hangMs} ms`;
      resolve({ cause: 'hang', detail, input: watcher.input() });
      return;
    }
    cancel = deps.clock.after(hangMs, look);
  }
  const end = await promise;
  cancel();
  await worker.terminate();
  return end;
}

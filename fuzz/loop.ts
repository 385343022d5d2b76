// The fuzzing of one target, in one thread.
//
//   1. take the seeds and the stored corpus; run each, and remember what code they reach
//   2. make a batch of inputs from those at hand, and run it
//   3. when the batch reached new code, halve it until the inputs that did are found: keep them
//   4. when an input failed, make it smaller as long as it fails in the same way, and report it
//
// A loop that is not guided leaves out 3, and makes everything from what it was given: without
// coverage the code under test runs at its full speed, two or three times as fast.
//
// One seed, one order of inputs, where the budget is in messages: batches grow with their count.
// Where it is in seconds the end depends on the machine, and so do batches, lest one takes it all.

import type { Clock } from '../src/base/clock.ts';
import type { Maybe } from '../src/base/maybe.ts';
import { createSeededRng, type Rng } from '../src/base/rng.ts';
import { Coverage } from './coverage.ts';
import { MemoryGauge } from './memory.ts';
import { Mutator } from './mutate.ts';
import { shrink } from './shrink.ts';
import { BYTES_MAX, type Failure, failureOf, type Target } from './target.ts';

export interface Budget {
  /** Infinity: no clock has a say in what is run. */
  readonly seconds: number;
  readonly messages: number;
}

/** Told of every input before it runs, so that somebody else knows it when it does not end. */
export interface Watch {
  begin(input: Uint8Array): void;
  end(): void;
}

export interface Report {
  inputs: number;
  /** In them: whole conversations are inputs, too. */
  messages: number;
  refused: number;
  seconds: number;
  corpus: number;
  coveredCharacters: number;
  failures: number;
}

export interface LoopDeps {
  readonly clock: Clock;
  readonly watch: Watch;
  readonly onFailure: (failure: Failure, input: Uint8Array) => void;
}

/** Inputs run between two looks at coverage: few at first, when most of them find something. */
const BATCH_MIN = 16;
const BATCH_MAX = 2048;
/** So that a look at coverage (0.5 ms) and the clock stay small beside the work. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_MS_MAX = 500;
const GROUP = 16;
/** Longer ones are run, not kept: they slow down all that is made of them. */
const KEPT_BYTES_MAX = 4096;
const KEPT_MAX = 2000;
/** Kinds of failure that one run reports: whoever has so many has enough to do. */
const FOUND_MAX = 12;
const GROWTH_EVERY_MESSAGES = 200_000;
/** Stacks cost more than most decoders: they are taken only of what is reported. */
const STACK_LINES = 12;
const GREEDY = 'memory of one input';

export class Loop {
  readonly target: Target;
  readonly report: Report;
  readonly #deps: LoopDeps;
  readonly #rng: Rng;
  readonly #mutator: Mutator;
  readonly #coverage: Coverage | undefined;
  readonly #memory: MemoryGauge;
  readonly #corpus: Uint8Array[] = [];
  readonly #found = new Set<string>();
  #corpusBytes = 0;
  #nextGrowthCheck = GROWTH_EVERY_MESSAGES;

  constructor(deps: LoopDeps, target: Target, seed: number, guided = true) {
    this.target = target;
    this.#deps = deps;
    this.#rng = createSeededRng(seed);
    this.#mutator = new Mutator(this.#rng, target.bytesMax ?? BYTES_MAX, target.words);
    this.#memory = new MemoryGauge(target.memoryBytes);
    this.#coverage = guided ? new Coverage() : undefined;
    this.report = {
      inputs: 0,
      messages: 0,
      refused: 0,
      seconds: 0,
      corpus: 0,
      coveredCharacters: 0,
      failures: 0,
    };
  }

  /** Inputs that reach code which smaller ones do not; without guidance, those that were given. */
  get corpus(): readonly Uint8Array[] {
    return this.#corpus;
  }

  /** `stored` is what there is beside the seeds; without guidance, all that there is. */
  async run(stored: readonly Uint8Array[], budget: Budget): Promise<void> {
    const { clock } = this.#deps;
    const startMs = clock.monotonicMs();
    const seconds = (): number => (clock.monotonicMs() - startMs) / 1000;
    const isTimed = budget.seconds !== Infinity;
    Error.stackTraceLimit = 0;
    this.#coverage?.start();
    try {
      if (this.#coverage === undefined) await this.#beginWith(stored);
      else await this.#beginGuided(this.#coverage, stored);
      let size = BATCH_MIN;
      while (seconds() < budget.seconds && this.report.messages < budget.messages) {
        const count = Math.min(size, budget.messages - this.report.messages);
        const batch = this.#makeBatch(count);
        const beganMs = clock.monotonicMs();
        await this.#runBatch(batch);
        const coverage = this.#coverage;
        if (coverage?.isNew(false) === true)
          await this.#again(() => this.#keepNew(coverage, batch));
        else if (!isTimed || clock.monotonicMs() - beganMs < BATCH_MS_MAX)
          size = Math.min(BATCH_MAX, size * 2);
        await this.#checkGrowth();
      }
    } finally {
      this.#coverage?.stop();
      Error.stackTraceLimit = STACK_LINES;
      await this.target.close?.();
      this.report.seconds = seconds();
    }
  }

  async #beginWith(given: readonly Uint8Array[]): Promise<void> {
    for (const input of given) {
      await this.#runBatch([input]);
      this.#keep(input);
    }
  }

  async #beginGuided(coverage: Coverage, stored: readonly Uint8Array[]): Promise<void> {
    const given = [...(await this.target.seeds()), ...stored];
    coverage.forget();
    for (const input of given.toSorted((a, b) => a.length - b.length)) {
      await this.#runBatch([input]);
      const found = coverage.isNew(true);
      if (found || this.#corpus.length === 0) this.#keep(input);
      this.report.coveredCharacters = coverage.characters;
    }
  }

  #keep(input: Uint8Array): void {
    if (input.length > KEPT_BYTES_MAX && this.#corpus.length > 0) return;
    if (this.#corpus.length >= KEPT_MAX) return;
    this.#corpus.push(input);
    this.#corpusBytes += input.length;
    this.report.corpus = this.#corpus.length;
  }

  #makeBatch(count: number): Uint8Array[] {
    const batch: Uint8Array[] = [];
    let bytes = 0;
    while (batch.length < count && bytes < BATCH_BYTES_MAX) {
      const input = this.#mutator.mutate(this.#pick(), this.#pick());
      if (this.target.mend !== undefined && this.#rng.float() < 0.9) this.target.mend(input);
      batch.push(input);
      bytes += input.length;
    }
    return batch;
  }

  /** New ones more often: what lies behind them is least known. */
  #pick(): Uint8Array {
    const newest = this.#rng.float() < 0.5 ? this.#corpus.length : Math.sqrt(this.#corpus.length);
    const back = Math.floor(this.#rng.float() * newest);
    return this.#corpus[this.#corpus.length - 1 - back]!;
  }

  async #runBatch(batch: readonly Uint8Array[]): Promise<void> {
    for (let first = 0; first < batch.length; first += GROUP) {
      const end = Math.min(batch.length, first + GROUP);
      let bytes = 0;
      this.#memory.begin();
      for (let i = first; i < end; i++) {
        const input = batch[i]!;
        bytes += input.length;
        const failure = this.runOne(input);
        if (failure instanceof Promise) await this.#note(await failure, input);
        else if (failure !== undefined) await this.#note(failure, input);
      }
      if (!this.#found.has(GREEDY) && this.#memory.excess(bytes) > 0)
        await this.#again(() => this.#findGreedy(batch.slice(first, end)));
    }
    this.report.inputs += batch.length;
  }

  /** Runs one input. Undefined when all is as it should be. */
  runOne(input: Uint8Array): Failure | undefined | Promise<Failure | undefined> {
    const { watch } = this.#deps;
    watch.begin(input);
    let work: Maybe<number | void>;
    try {
      work = this.target.run(input);
    } catch (error) {
      watch.end();
      return this.#refused(error);
    }
    if (work instanceof Promise) return this.#settle(work);
    watch.end();
    this.report.messages += work ?? 1;
    return undefined;
  }

  async #settle(work: Promise<number | void>): Promise<Failure | undefined> {
    try {
      this.report.messages += (await work) ?? 1;
      return undefined;
    } catch (error) {
      return this.#refused(error);
    } finally {
      this.#deps.watch.end();
    }
  }

  #refused(error: unknown): Failure | undefined {
    this.report.refused += 1;
    this.report.messages += 1;
    return failureOf(this.target, error);
  }

  async #note(failure: Failure | undefined, input: Uint8Array): Promise<void> {
    if (failure === undefined) return;
    this.report.failures += 1;
    if (this.#found.has(failure.cause) || this.#found.size >= FOUND_MAX) return;
    this.#found.add(failure.cause);
    const fails = async (smaller: Uint8Array): Promise<boolean> =>
      (await this.runOne(smaller))?.cause === failure.cause;
    await this.#again(async () => {
      const smallest = await shrink(input, fails);
      Error.stackTraceLimit = STACK_LINES;
      const shown = await this.runOne(smallest);
      Error.stackTraceLimit = 0;
      this.#deps.onFailure(shown ?? failure, smallest);
    });
  }

  /** What runs again is counted once. */
  async #again(work: () => Promise<void>): Promise<void> {
    const { refused, messages } = this.report;
    await work();
    this.report.refused = refused;
    this.report.messages = messages;
  }

  async #findGreedy(group: readonly Uint8Array[]): Promise<void> {
    for (const input of group) {
      this.#memory.collect();
      this.#memory.begin();
      await this.runOne(input);
      const excess = this.#memory.excess(input.length);
      if (excess === 0) continue;
      const detail = `${input.length} bytes take ${excess} bytes of memory more than they may`;
      await this.#note({ cause: GREEDY, detail }, input);
      return;
    }
  }

  async #checkGrowth(): Promise<void> {
    if (this.report.messages < this.#nextGrowthCheck) return;
    this.#nextGrowthCheck = this.report.messages + GROWTH_EVERY_MESSAGES;
    const grown = await this.#memory.growth(this.#corpusBytes);
    if (grown === 0 || this.#found.has('growth')) return;
    this.#found.add('growth');
    this.report.failures += 1;
    const detail = `${grown} bytes more than may stay, after ${this.report.messages} messages`;
    this.#deps.onFailure({ cause: 'memory grows', detail }, new Uint8Array(0));
  }

  /** The batch reached something new: finds the inputs that did, and keeps them. */
  async #keepNew(coverage: Coverage, batch: readonly Uint8Array[]): Promise<void> {
    if (batch.length === 1) {
      await this.runOne(batch[0]!);
      if (coverage.isNew(true)) this.#keep(batch[0]!);
      this.report.coveredCharacters = coverage.characters;
      return;
    }
    const middle = batch.length >>> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      for (const input of half) await this.runOne(input);
      if (coverage.isNew(false)) await this.#keepNew(coverage, half);
    }
  }
}

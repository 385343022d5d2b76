// Input that a limit keeps from being consumed. The wire is paused meanwhile, so that there is no
// more of it than the socket had read already.

import type { ByteBudget } from './byte-budget.ts';
import type { Wire } from './wire.ts';

export class HeldInput {
  readonly #wire: Wire;
  readonly #budget: ByteBudget;
  readonly #wake: () => void;
  #chunks: Buffer[] = [];
  #paused = false;

  /** `wake` is called when other connections have freed some of a budget that was full. */
  constructor(wire: Wire, budget: ByteBudget, wake: () => void) {
    this.#wire = wire;
    this.#budget = budget;
    this.#wake = wake;
  }

  get empty(): boolean {
    return this.#chunks.length === 0;
  }

  /** In the order in which they came. */
  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** A chunk behind those that are held. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  /** The oldest; only when there is one. */
  shift(): Buffer {
    return this.#chunks.shift()!;
  }

  /** The rest of a chunk of which the beginning was consumed: the oldest. */
  putBack(rest: Buffer): void {
    this.#chunks.unshift(rest);
    if (!this.#paused) this.#wire.pause();
    this.#paused = true;
    this.awaitBudget();
  }

  /** What holds this one may be the others' memory: whoever frees some wakes it. */
  awaitBudget(): void {
    if (this.#paused && this.#budget.full) this.#budget.whenFree(this.#wake);
  }

  resume(): void {
    this.#paused = false;
    this.#wire.resume();
  }

  /** The wire is another one from here on. */
  forgetPause(): void {
    this.#paused = false;
  }

  drop(): void {
    this.#chunks = [];
  }

  /** Nothing will be consumed any more. */
  close(): void {
    this.drop();
    this.#budget.forget(this.#wake);
  }
}

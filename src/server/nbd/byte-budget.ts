// One limit on bytes for many connections: past it they wait, and are woken when there is room
// again, whoever has waited longest first.

import { assert } from '../../base/assert.ts';

export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting = new Set<() => void>();
  #bytes = 0;
  #waking = false;

  constructor(bytesMax: number) {
    assert(bytesMax > 0, 'a budget has room for something');
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What is admitted just below the limit may go past it once. */
  get full(): boolean {
    return this.#bytes >= this.#bytesMax;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, 'no more is given back than was taken');
    if (this.full || this.#waking || this.#waiting.size === 0) return;
    this.#waking = true;
    // Not in this turn: whoever gives back is in the middle of something.
    process.nextTick(() => this.#wake());
  }

  /** Calls `wake` once in a later tick when there is room; it looks itself whether that is so. */
  whenFree(wake: () => void): void {
    this.#waiting.add(wake);
  }

  forget(wake: () => void): void {
    this.#waiting.delete(wake);
  }

  #wake(): void {
    this.#waking = false;
    const waiting = [...this.#waiting];
    for (const wake of waiting) {
      if (this.full) return;
      this.#waiting.delete(wake);
      wake();
    }
  }
}

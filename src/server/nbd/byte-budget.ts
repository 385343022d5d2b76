// Memory that many connections share: past a limit they wait, and are woken when there is room
// again, whoever has waited longest first. While somebody waits, holders are looked at from time to
// time: one that kept its memory and moved nothing from one look to the next has to go.

import { assert } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import { STALLED_MS } from './limits.ts';

export interface Holder {
  /** Whether its client has moved nothing since the last look, and could have. */
  stalled(): boolean;
  /** Gives back all that it holds, soon. */
  evict(): void;
}

export class ByteBudget {
  readonly #bytesMax: number;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  readonly #holders = new Set<Holder>();
  #bytes = 0;
  #waking = false;
  #watching = false;
  #evictions = 0;

  constructor(bytesMax: number, clock: Clock) {
    assert(bytesMax > 0, 'a budget has room for something');
    this.#bytesMax = bytesMax;
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Holders that had to go. */
  get evictions(): number {
    return this.#evictions;
  }

  /** What is admitted just below the limit may go past it once. */
  get full(): boolean {
    return this.#bytes >= this.#bytesMax;
  }

  /** `holder` has `after` bytes of it from now on, and had `before`. */
  change(holder: Holder, before: number, after: number): void {
    if (before === 0) this.#holders.add(holder);
    if (after === 0) this.#holders.delete(holder);
    this.#bytes += after - before;
    assert(this.#bytes >= 0, 'no more is given back than was taken');
    if (after > before || this.full || this.#waking || this.#waiting.size === 0) return;
    this.#waking = true;
    // Not in this turn: whoever gives back is in the middle of something.
    process.nextTick(() => this.#wake());
  }

  /** Calls `wake` once in a later tick when there is room; it looks itself whether that is so. */
  whenFree(wake: () => void): void {
    this.#waiting.add(wake);
    if (this.#watching) return;
    this.#watching = true;
    this.#watch();
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

  #watch(): void {
    this.#clock.after(STALLED_MS, () => {
      this.#watching = this.#waiting.size > 0;
      if (!this.#watching) return;
      const stalled = [...this.#holders].filter((holder) => holder.stalled());
      this.#evictions += stalled.length;
      for (const holder of stalled) holder.evict();
      this.#watch();
    });
  }
}

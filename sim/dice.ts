// Choices of one seed: a thin layer over Rng that says what is drawn.

import { assert } from '../src/base/assert.ts';
import { createSeededRng, type Rng } from '../src/base/rng.ts';

export class Dice {
  readonly rng: Rng;

  constructor(seed: number) {
    this.rng = createSeededRng(seed);
  }

  chance(probability: number): boolean {
    return this.rng.float() < probability;
  }

  /** Uniform in [from, to], both included. */
  int(from: number, to: number): number {
    return from + Math.floor(this.rng.float() * (to - from + 1));
  }

  /** In [from, to], small values far more often than large ones. */
  skewed(from: number, to: number): number {
    return from + Math.floor(this.rng.float() ** 3 * (to - from + 1));
  }

  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, 'there is something to pick from');
    return items[this.int(0, items.length - 1)]!;
  }

  /** Dice of their own for an actor: what one draws does not change what another draws. */
  fork(): Dice {
    return new Dice(this.int(1, 2 ** 31));
  }
}

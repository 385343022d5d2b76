// Readers of this process that may hold pointers, or tables, which the newest manifest no longer
// names. What they might read is deleted once they are through: a reader enters before its first
// await, and whoever wants to delete waits for all who were inside when it asked.

interface Wait {
  /** Waits for readers of generations below. */
  readonly generation: number;
  readonly resolve: () => void;
}

export class Grace {
  /** Goes up with every wait: who entered before it is of a lower generation. */
  #generation = 0;
  /** Readers inside by the generation in which they entered. */
  readonly #inside = new Map<number, number>();
  #waits: Wait[] = [];

  /** Counts the caller as inside until `reading` has settled. */
  async hold<T>(reading: Promise<T>): Promise<T> {
    const generation = this.enter();
    try {
      return await reading;
    } finally {
      this.leave(generation);
    }
  }

  enter(): number {
    const generation = this.#generation;
    this.#inside.set(generation, (this.#inside.get(generation) ?? 0) + 1);
    return generation;
  }

  leave(generation: number): void {
    const left = this.#inside.get(generation)! - 1;
    if (left > 0) {
      this.#inside.set(generation, left);
      return;
    }
    this.#inside.delete(generation);
    const over = this.#waits.filter((wait) => this.#isOver(wait));
    this.#waits = this.#waits.filter((wait) => !over.includes(wait));
    for (const wait of over) wait.resolve();
  }

  /** Resolves when everyone who is inside now has left. */
  quiesced(): Promise<void> {
    this.#generation += 1;
    const generation = this.#generation;
    return new Promise((resolve) => {
      const wait = { generation, resolve };
      if (this.#isOver(wait)) resolve();
      else this.#waits.push(wait);
    });
  }

  #isOver({ generation }: Wait): boolean {
    for (const entered of this.#inside.keys()) if (entered < generation) return false;
    return true;
  }
}

// Listings of a store that is not consistent: each shows some moment of the recent past. It keeps
// what every change replaced, and takes changes back for a listing.

import { createMemoryStore, type MemoryStore } from '../src/objectstore/memory.ts';
import type { Dice } from './dice.ts';
import type { World } from './world.ts';

interface Change {
  readonly atMs: number;
  readonly key: string;
  /** Undefined when there was no object. */
  readonly before: Uint8Array | undefined;
}

export class StaleLists {
  readonly #world: World;
  readonly #dice: Dice;
  readonly #memory: MemoryStore;
  readonly #staleMsMax: number;
  readonly #pageKeys: number;
  #changes: Change[] = [];

  constructor(
    world: World,
    dice: Dice,
    memory: MemoryStore,
    options: { readonly staleMsMax: number; readonly pageKeys: number },
  ) {
    this.#world = world;
    this.#dice = dice;
    this.#memory = memory;
    this.#staleMsMax = options.staleMsMax;
    this.#pageKeys = options.pageKeys;
  }

  /** To be called before each change. */
  note(key: string): void {
    if (this.#staleMsMax === 0) return;
    const oldestMs = this.#world.nowMs - this.#staleMsMax;
    this.#changes = this.#changes.filter((change) => change.atMs >= oldestMs);
    const before = this.#memory.objects.get(key);
    this.#changes.push({ atMs: this.#world.nowMs, key, before });
  }

  /** What a listing sees that lands now. */
  view(): MemoryStore {
    if (this.#staleMsMax === 0) return this.#memory;
    const atMs = this.#world.nowMs - this.#dice.skewed(0, this.#staleMsMax);
    const past = createMemoryStore({ pageKeys: this.#pageKeys });
    for (const [key, bytes] of this.#memory.objects) past.objects.set(key, bytes);
    for (const change of this.#changes.toReversed()) {
      if (change.atMs <= atMs) break;
      if (change.before === undefined) past.objects.delete(change.key);
      else past.objects.set(change.key, change.before);
    }
    return past;
  }
}

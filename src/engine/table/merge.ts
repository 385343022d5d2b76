// Merges cursors, newest first, into one: each key once, with its values combined.
//
// 1. The cursors that stand on the current key are held, newest first; the others lie in a binary
//    heap, ordered by key and then by age.
// 2. `next` steps the held cursors. A single held one that is still smallest (a stretch of keys
//    from one source) stays held after one comparison; else it changes places with the heap's top.
// 3. Every further cursor on the same key is taken out of the heap and held too.
// 4. `combine` sees the values newest first. Undefined drops the key, and the next one is sought.
//
// Sources give keys in strictly ascending order. Nothing is allocated per entry.

import { assert } from '../../base/assert.ts';
import { compareBytes } from '../../base/bytes.ts';
import type { Cursor } from './cursor.ts';
import type { Maybe } from '../../base/maybe.ts';

/**
 * Makes one value of those that a key has in the merged sources, newest first and at least one.
 * `isBottom`: no older source exists, so what only hides older values can go. Undefined drops the
 * entry. Arguments are borrowed; the result must stay as it is until the next call, and may be one
 * of the values.
 */
export type Combine = (
  key: Uint8Array,
  values: readonly Uint8Array[],
  isBottom: boolean,
) => Uint8Array | undefined;

/** `sources` newest first. The first `next` of each is called by the first `next` of the merge. */
export function mergeCursors(
  sources: readonly Cursor[],
  combine: Combine,
  isBottom: boolean,
): Cursor {
  return new MergeCursor(sources, combine, isBottom);
}

/** Takes the newest value: for sources whose entries replace one another whole. */
export const takeNewest: Combine = (_key, values) => values[0];

interface Source {
  readonly cursor: Cursor;
  /** 0 is the newest. */
  readonly age: number;
  /** The cursor's key, kept here so that comparisons read a plain field. */
  key: Uint8Array;
}

const NOTHING = new Uint8Array(0);

class MergeCursor implements Cursor {
  readonly #sources: readonly Cursor[];
  readonly #combine: Combine;
  readonly #isBottom: boolean;
  readonly #heap: Source[] = [];
  readonly #held: Source[] = [];
  readonly #values: Uint8Array[] = [];
  #started = false;
  /**
   * True inside `next`. A failure leaves it set: entries may be lost, so the merge must not go on.
   */
  #busy = false;
  key: Uint8Array = NOTHING;
  value: Uint8Array = NOTHING;

  constructor(sources: readonly Cursor[], combine: Combine, isBottom: boolean) {
    this.#sources = sources;
    this.#combine = combine;
    this.#isBottom = isBottom;
  }

  next(): Maybe<boolean> {
    assert(!this.#busy, 'a merge is stepped by one caller, and not after a failure');
    this.#busy = true;
    for (;;) {
      const stepped = this.#started ? this.#step() : this.#start();
      if (stepped !== undefined) return this.#nextBehind(stepped);
      const found = this.#settle();
      if (found === undefined) continue;
      this.#busy = false;
      return found;
    }
  }

  async #nextBehind(stepped: Promise<void>): Promise<boolean> {
    await stepped;
    const found = this.#settle();
    this.#busy = false;
    return found ?? this.next();
  }

  /** Gathers the current key; undefined when it was dropped and another step is due. */
  #settle(): boolean | undefined {
    const held = this.#held;
    if (held.length === 0) {
      const top = this.#pop();
      if (top === undefined) return false;
      held.push(top);
    }
    const key = held[0]!.key;
    const heap = this.#heap;
    while (heap.length > 0 && compareBytes(heap[0]!.key, key) === 0) held.push(this.#pop()!);
    const values = this.#values;
    values.length = 0;
    for (const source of held) values.push(source.cursor.value);
    const value = this.#combine(key, values, this.#isBottom);
    if (value === undefined) return undefined;
    this.key = key;
    this.value = value;
    return true;
  }

  /** First steps of all sources at once: each may be a fetch. */
  #start(): Promise<void> | undefined {
    this.#started = true;
    const coming: Promise<void>[] = [];
    for (const [age, cursor] of this.#sources.entries()) {
      const source: Source = { cursor, age, key: NOTHING };
      const step = stepOf(cursor);
      if (typeof step === 'boolean') this.#return(source, step);
      else coming.push(step.then((more) => this.#return(source, more)));
    }
    return coming.length === 0 ? undefined : Promise.all(coming).then(() => {});
  }

  /** Steps every held source. One that stays smallest stays held; the rest go back to the heap. */
  #step(): Promise<void> | undefined {
    const held = this.#held;
    if (held.length !== 1) return this.#stepMany();
    const source = held[0]!;
    const step = source.cursor.next();
    if (typeof step !== 'boolean') {
      held.length = 0;
      return step.then((more) => this.#return(source, more));
    }
    if (!step) {
      held.length = 0;
      return undefined;
    }
    source.key = source.cursor.key;
    const heap = this.#heap;
    const top = heap[0];
    if (top !== undefined && precedes(top, source)) {
      held[0] = top;
      heap[0] = source;
      this.#siftDown();
    }
    return undefined;
  }

  #stepMany(): Promise<void> | undefined {
    const held = this.#held;
    let coming: Promise<void>[] | undefined;
    for (const source of held) {
      const step = stepOf(source.cursor);
      if (typeof step === 'boolean') this.#return(source, step);
      else (coming ??= []).push(step.then((more) => this.#return(source, more)));
    }
    held.length = 0;
    return coming === undefined ? undefined : Promise.all(coming).then(() => {});
  }

  #return(source: Source, more: boolean): void {
    if (!more) return;
    source.key = source.cursor.key;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(source);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!precedes(source, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = source;
  }

  #pop(): Source | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (heap.length > 0) {
      heap[0] = last!;
      this.#siftDown();
    }
    return top;
  }

  /** Restores the heap's order after its top was replaced. */
  #siftDown(): void {
    const heap = this.#heap;
    const source = heap[0]!;
    const half = heap.length >>> 1;
    let at = 0;
    while (at < half) {
      let child = at * 2 + 1;
      const right = child + 1;
      if (right < heap.length && precedes(heap[right]!, heap[child]!)) child = right;
      if (!precedes(heap[child]!, source)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = source;
  }
}

/**
 * Steps one of several cursors: a throw becomes a rejection, so that the others' promises are
 * awaited too.
 */
function stepOf(cursor: Cursor): Maybe<boolean> {
  try {
    return cursor.next();
  } catch (error) {
    return Promise.reject(error);
  }
}

function precedes(a: Source, b: Source): boolean {
  const order = compareBytes(a.key, b.key);
  return order === 0 ? a.age < b.age : order < 0;
}

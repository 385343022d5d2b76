// Entries in ascending key order, one after another: what tables, runs, memtables and merges have
// in common. A step within a loaded block takes no promise, so that a merge of millions of entries
// is a plain loop.

import { assert } from '../../base/assert.ts';
import type { Maybe } from '../../base/maybe.ts';

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * `key` and `value` are borrowed: they hold from a `next` that gave true until the following call
 * of it.
 */
export interface Cursor {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /**
   * Steps to the next entry; false at the end. Calls must not overlap; after a rejection there is
   * no entry.
   */
  next(): Maybe<boolean>;
}

const NOTHING = new Uint8Array(0);

/** A cursor over anything iterable in ascending key order, such as a memtable. */
export function cursorOf(source: Iterable<Entry> | AsyncIterable<Entry>): Cursor {
  if (Symbol.iterator in source) return new IterableCursor(source[Symbol.iterator]());
  return new AsyncIterableCursor(source[Symbol.asyncIterator]());
}

class IterableCursor implements Cursor {
  readonly #iterator: Iterator<Entry>;
  key: Uint8Array = NOTHING;
  value: Uint8Array = NOTHING;

  constructor(iterator: Iterator<Entry>) {
    this.#iterator = iterator;
  }

  next(): boolean {
    const step = this.#iterator.next();
    if (step.done === true) return false;
    this.key = step.value.key;
    this.value = step.value.value;
    return true;
  }
}

class AsyncIterableCursor implements Cursor {
  readonly #iterator: AsyncIterator<Entry>;
  key: Uint8Array = NOTHING;
  value: Uint8Array = NOTHING;

  constructor(iterator: AsyncIterator<Entry>) {
    this.#iterator = iterator;
  }

  async next(): Promise<boolean> {
    const step = await this.#iterator.next();
    if (step.done === true) return false;
    this.key = step.value.key;
    this.value = step.value.value;
    return true;
  }
}

/** Owned copies of what a cursor passes, for callers to whom comfort matters more than speed. */
export async function* entriesOf(cursor: Cursor): AsyncGenerator<Entry, void, void> {
  for (;;) {
    const step = cursor.next();
    if (!(typeof step === 'boolean' ? step : await step)) return;
    yield { key: new Uint8Array(cursor.key), value: new Uint8Array(cursor.value) };
  }
}

/** Copies `source` to `target` at `at`. A loop is cheaper than a native call for a dozen bytes. */
export function copyBytes(target: Uint8Array, at: number, source: Uint8Array): void {
  const length = source.length;
  assert(at + length <= target.length, 'copied bytes fit their target');
  if (length > 24) {
    target.set(source, at);
    return;
  }
  for (let i = 0; i < length; i++) target[at + i] = source[i]!;
}

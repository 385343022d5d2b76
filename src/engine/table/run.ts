// A sorted run: tables whose key ranges do not overlap, in ascending order. Any key lies in at most
// one of them. The state of the tree is a list of runs, newest first; an entry of a newer run
// overlays that of an older one.

import { assert } from '../../base/assert.ts';
import { compareBytes } from '../../base/bytes.ts';
import { hashKey } from './bloom.ts';
import type { KeyHash } from './bloom.ts';
import type { Cursor } from './cursor.ts';
import type { TableDescriptor } from './descriptor.ts';
import type { Maybe } from '../../base/maybe.ts';
import { openTable } from './reader.ts';
import type { Table, TableReaderDeps } from './reader.ts';
import type { TableSettings } from './settings.ts';
import { TableCursor } from './table-cursor.ts';
import type { ScanOptions } from './table-cursor.ts';

/** A run as a manifest names it. */
export interface Run {
  readonly tables: readonly TableDescriptor[];
}

/** Stored bytes of a run. */
export function runBytes(run: Run): number {
  let bytes = 0;
  for (const table of run.tables) bytes += table.bytes;
  return bytes;
}

/** A run that can be read. */
export class SortedRun {
  readonly tables: readonly Table[];

  constructor(tables: readonly Table[]) {
    for (let i = 1; i < tables.length; i++) {
      const before = tables[i - 1]!.descriptor.lastKey;
      const ascending = compareBytes(before, tables[i]!.descriptor.firstKey) < 0;
      assert(ascending, 'the tables of a run do not overlap');
    }
    this.tables = tables;
  }

  /** The only table that can hold `key`. */
  find(key: Uint8Array): Table | undefined {
    const table = this.tables[this.#firstEndingAt(key)];
    if (table === undefined || compareBytes(table.descriptor.firstKey, key) > 0) return undefined;
    return table;
  }

  cursor(options: ScanOptions): Cursor {
    const { from, to } = options;
    const first = from === undefined ? 0 : this.#firstEndingAt(from);
    let end = this.tables.length;
    if (to !== undefined) {
      // One past the last table that begins below `to`.
      end = Math.min(end, this.#firstEndingAt(to) + 1);
      const last = this.tables[end - 1];
      if (last !== undefined && compareBytes(last.descriptor.firstKey, to) >= 0) end -= 1;
    }
    return new RunCursor(this.tables.slice(first, Math.max(first, end)), options);
  }

  /** Index of the first table whose last key is ≥ `key`. */
  #firstEndingAt(key: Uint8Array): number {
    let low = 0;
    let high = this.tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(this.tables[middle]!.descriptor.lastKey, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Opens every table of `run`; nothing is fetched. `nameOf` gives the object name of a table. */
export function openRun(
  deps: TableReaderDeps,
  settings: TableSettings,
  run: Run,
  nameOf: (table: TableDescriptor) => string,
): SortedRun {
  return new SortedRun(run.tables.map((table) => openTable(deps, settings, table, nameOf(table))));
}

/**
 * Passes the values of `key` to `visit`, newest first, until it answers true ("that is all I
 * need"). Synchronous while every block is cached. At the first one that is missing it gives a
 * promise, loads that block and goes on from there: nothing is visited twice. `key` is borrowed
 * until the call settles; a value is a view of a cached block and must not be changed.
 */
export function lookup(
  runs: readonly SortedRun[],
  key: Uint8Array,
  visit: (value: Uint8Array) => boolean,
): Maybe<void> {
  if (runs.length === 0) return;
  return lookupFrom(runs, 0, key, hashKey(key, { line: 0, bits: 0 }), visit);
}

function lookupFrom(
  runs: readonly SortedRun[],
  first: number,
  key: Uint8Array,
  hash: KeyHash,
  visit: (value: Uint8Array) => boolean,
): Maybe<void> {
  for (let at = first; at < runs.length; at++) {
    const value = runs[at]!.find(key)?.get(key, hash);
    if (value === undefined) continue;
    if (value instanceof Promise) return lookupBehind(value, runs, at, key, hash, visit);
    if (visit(value)) return;
  }
}

async function lookupBehind(
  coming: Promise<Uint8Array | undefined>,
  runs: readonly SortedRun[],
  at: number,
  key: Uint8Array,
  hash: KeyHash,
  visit: (value: Uint8Array) => boolean,
): Promise<void> {
  const value = await coming;
  if (value !== undefined && visit(value)) return;
  await lookupFrom(runs, at + 1, key, hash, visit);
}

/**
 * The tables of a run one after another; with read-ahead the next one is opened while this one is
 * consumed.
 */
class RunCursor implements Cursor {
  readonly #tables: readonly Table[];
  readonly #options: ScanOptions;
  #nextTable = 0;
  #current: TableCursor | undefined;
  #following: TableCursor | undefined;

  constructor(tables: readonly Table[], options: ScanOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#follow();
  }

  get key(): Uint8Array {
    return this.#current!.key;
  }

  get value(): Uint8Array {
    return this.#current!.value;
  }

  next(): Maybe<boolean> {
    if (this.#current === undefined) this.#turn();
    while (this.#current !== undefined) {
      const step = this.#current.next();
      if (step === true) return true;
      if (step !== false) return this.#nextBehind(step);
      this.#turn();
    }
    return false;
  }

  async #nextBehind(step: Promise<boolean>): Promise<boolean> {
    if (await step) return true;
    this.#turn();
    return this.next();
  }

  #turn(): void {
    this.#current = this.#following;
    this.#follow();
    if (!this.#options.readAhead) return;
    this.#current?.prepare();
    this.#following?.prepare();
  }

  #follow(): void {
    const table = this.#tables[this.#nextTable++];
    this.#following = table === undefined ? undefined : new TableCursor(table, this.#options);
  }
}

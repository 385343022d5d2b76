// Streams entries into a new run: cuts tables, puts them into the store. For memtable flushes and
// compactions.
//
// 1. Entries go to a builder until the table has settings.tableBytes of plaintext; a key is never
//    split.
// 2. A finished table is sealed and uploaded while the next one is built: at most two tables in
//    memory.
// 3. Every few milliseconds of work the event loop gets a turn, and the signal is looked at.
//
// Nothing is deleted here. After a failure, tables that were already put are left behind: no root
// names them, so the collector finds them.

import type { Clock } from '../../base/clock.ts';
import { StorageError } from '../../base/errors.ts';
import type { ObjectStore, RequestOptions } from '../../objectstore/object-store.ts';
import { createTableBuilder } from './builder.ts';
import type { TableBuilder, TableBuilderDeps } from './builder.ts';
import type { Cursor } from './cursor.ts';
import type { TableDescriptor } from './descriptor.ts';
import type { Run } from './run.ts';
import type { TableSettings } from './settings.ts';

export interface RunWriterDeps extends TableBuilderDeps {
  readonly store: ObjectStore;
}

export interface RunWriterOptions extends RequestOptions {
  /** A table id that was never used before. */
  readonly allocateId: () => number;
  /** Object name of the table with that id. */
  readonly nameOf: (id: number) => string;
}

/** Work between two looks at the clock. */
const PACE_ENTRIES = 256;
/** Longest stretch of work before the event loop gets a turn: shorter than any client notices. */
const SLICE_MS = 3;
/** The same in entries, for clocks that stand still while code runs. */
const SLICE_ENTRIES = 8192;

/** Writes all entries of `source`. A source without entries gives a run without tables. */
export async function writeRun(
  deps: RunWriterDeps,
  settings: TableSettings,
  source: Cursor,
  options: RunWriterOptions,
): Promise<Run> {
  const writer = new RunWriter(deps, settings, options);
  try {
    const pacer = new Pacer(deps.clock);
    for (;;) {
      const step = source.next();
      if (!(typeof step === 'boolean' ? step : await step)) break;
      if (writer.isFull(source)) await writer.endTable();
      writer.add(source);
      if (pacer.due()) {
        await pacer.rest();
        throwIfAborted(options.signal);
      }
    }
    return await writer.finish();
  } finally {
    // Whoever is told of a failure may rely on it that nothing goes on behind their back.
    await writer.settled();
  }
}

class RunWriter {
  readonly #deps: RunWriterDeps;
  readonly #settings: TableSettings;
  readonly #options: RunWriterOptions;
  readonly #tables: TableDescriptor[] = [];
  #builder: TableBuilder | undefined;
  #name = '';
  #uploading: Promise<void> = Promise.resolve();

  constructor(deps: RunWriterDeps, settings: TableSettings, options: RunWriterOptions) {
    this.#deps = deps;
    this.#settings = settings;
    this.#options = options;
  }

  /** True when the entry that `source` stands on belongs into another table. */
  isFull(source: Cursor): boolean {
    const builder = this.#builder;
    if (builder === undefined) return false;
    const bytes = builder.estimatedBytes + source.key.length + source.value.length;
    return bytes > this.#settings.tableBytes;
  }

  add(source: Cursor): void {
    if (this.#builder === undefined) {
      const id = this.#options.allocateId();
      this.#name = this.#options.nameOf(id);
      this.#builder = createTableBuilder(this.#deps, this.#settings, id, this.#name);
    }
    this.#builder.add(source.key, source.value);
  }

  /** Hands the table to the uploader, as soon as the one before it is in the store. */
  async endTable(): Promise<void> {
    const builder = this.#builder;
    if (builder === undefined) return;
    const name = this.#name;
    this.#builder = undefined;
    await this.#uploading;
    throwIfAborted(this.#options.signal);
    this.#uploading = this.#upload(builder, name);
    // It is awaited by the next table, by `finish` and by `settled`.
    this.#uploading.catch(() => {});
  }

  async finish(): Promise<Run> {
    await this.endTable();
    await this.#uploading;
    return { tables: this.#tables };
  }

  async settled(): Promise<void> {
    await Promise.allSettled([this.#uploading]);
  }

  async #upload(builder: TableBuilder, name: string): Promise<void> {
    const { body, descriptor } = await builder.finish();
    await this.#deps.store.putIfAbsent(name, body, this.#options);
    this.#tables.push(descriptor);
  }
}

/** Says when the event loop is due a turn. */
class Pacer {
  readonly #clock: Clock;
  #entries = 0;
  #sliceStartMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sliceStartMs = clock.monotonicMs();
  }

  due(): boolean {
    this.#entries += 1;
    if (this.#entries % PACE_ENTRIES !== 0) return false;
    if (this.#entries >= SLICE_ENTRIES) return true;
    return this.#clock.monotonicMs() - this.#sliceStartMs >= SLICE_MS;
  }

  async rest(): Promise<void> {
    await this.#clock.yieldTurn();
    this.#entries = 0;
    this.#sliceStartMs = this.#clock.monotonicMs();
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new StorageError('aborted', 'gave up writing tables', { cause: signal.reason });
}

// Objects that the head no longer reaches, on their way out.
//
// 1. They come in when the manifest that dropped them is durable.
// 2. Readers of this process that were under way by then are waited for.
// 3. What a snapshot or a branch point keeps is forgotten: it is thought of again when that one
//    goes. What a reader's lease keeps is looked at again later.
// 4. The rest is deleted. A store that fails is tried again; a crash leaves the rest to the sweep.
//
// Nobody waits for the trash: it is safe to stop at any point.

import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { LEASE_MS } from '../format/lease.ts';
import { dataName, logName, manifestName, tableName } from '../format/names.ts';
import type { DroppedSegment } from '../live-counts.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { SortedRun } from '../table/run.ts';
import type { Grace } from './grace.ts';
import type { LeasedRoot, Pins } from './pins.ts';
import type { Reach } from './reach.ts';

/** Deletes under way at a time. */
const DELETES_MAX = 16;
const RETRY_DELAY_MS = 10_000;
const OPTIONS = { cause: 'collection' } as const;

/** An object of this branch that nothing but another root could reach. */
export interface TrashItem {
  readonly kind: 'log' | 'data' | 'table' | 'manifest';
  /** Log number, id, or manifest number. */
  readonly id: number;
  /** The segment whose object it is, where that is known. */
  readonly segment?: number;
  readonly bytes: number;
}

export interface TrashComponents {
  readonly store: ObjectStore;
  readonly lineage: Lineage;
  readonly pins: Pins;
  readonly grace: Grace;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class Trash {
  readonly #c: TrashComponents;
  #items: TrashItem[] = [];
  /** Kept by leases when last looked at. */
  #leased: TrashItem[] = [];
  /** Counts the times that everything was forgotten. */
  #generation = 0;
  #draining: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;
  readonly counters = { deletedObjects: 0, deletedBytes: 0 };

  constructor(components: TrashComponents) {
    this.#c = components;
  }

  /** Segments that lost their last pointer. */
  addSegments(dropped: readonly DroppedSegment[]): void {
    const items: TrashItem[] = [];
    for (const { segment, table } of dropped) {
      if (!this.#c.lineage.ownsSegment(segment)) continue;
      const bytes = table.offsets.at(-1)!;
      const isLog = table.dataId === 0;
      const id = isLog ? table.logNumber : table.dataId;
      items.push({ kind: isLog ? 'log' : 'data', id, segment, bytes });
    }
    this.add(items);
  }

  /** Flushed segments whose blocks lie in data objects: their log objects held only the record. */
  addCommits(segments: ReadonlyMap<number, FrameTable>): void {
    const items: TrashItem[] = [];
    for (const [segment, { logNumber, dataId }] of segments) {
      if (dataId !== 0) items.push({ kind: 'log', id: logNumber, segment, bytes: 0 });
    }
    this.add(items);
  }

  /** Tables that were merged into others. */
  addTables(runs: readonly SortedRun[]): void {
    const items: TrashItem[] = [];
    for (const { descriptor } of runs.flatMap((run) => run.tables)) {
      const { id, bytes } = descriptor;
      if (this.#c.lineage.ownsId(id)) items.push({ kind: 'table', id, bytes });
    }
    this.add(items);
  }

  add(items: readonly TrashItem[]): void {
    if (items.length === 0) return;
    for (const item of items) this.#items.push(item);
    this.#start();
  }

  /**
   * Everything that is on its way out stays for now: the head has become an older state, which may
   * reach it again. A sweep finds what it does not.
   */
  forget(): void {
    this.#items = [];
    this.#leased = [];
    this.#generation += 1;
  }

  /** Resolves when all that can be deleted now has been tried. */
  async drained(): Promise<void> {
    if (this.#leased.length > 0) this.#start();
    await this.#draining;
  }

  #start(): void {
    if (this.#c.signal.aborted) return;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
    });
  }

  #later(delayMs: number): void {
    if (this.#c.signal.aborted) return;
    this.#cancelRetry ??= this.#c.clock.after(delayMs, () => {
      this.#cancelRetry = undefined;
      this.#start();
    });
  }

  stop(): void {
    this.#cancelRetry?.();
  }

  async #drain(): Promise<void> {
    let batch = [...this.#items.splice(0), ...this.#leased.splice(0)];
    while (batch.length > 0 && !this.#c.signal.aborted) {
      const generation = this.#generation;
      try {
        await this.#dispose(batch);
      } catch (error) {
        // What was deleted already is deleted once more then, which does no harm.
        if (generation === this.#generation) this.#items = [...batch, ...this.#items];
        if (this.#c.signal.aborted) return;
        const fields = { objects: batch.length, error: messageOf(error), retryMs: RETRY_DELAY_MS };
        this.#c.log.warn('trash.failed', fields);
        this.#later(RETRY_DELAY_MS);
        return;
      }
      batch = this.#items.splice(0);
    }
    if (this.#leased.length > 0) this.#later(LEASE_MS);
  }

  /** All of the batch, or it rejects and all of it is still to be done. */
  async #dispose(batch: readonly TrashItem[]): Promise<void> {
    const { pins, grace } = this.#c;
    const generation = this.#generation;
    await grace.quiesced();
    const kept = await pins.kept();
    const leased = await pins.leased();
    if (generation !== this.#generation) return;
    const gone: TrashItem[] = [];
    const held: TrashItem[] = [];
    for (const item of batch) {
      if (keeps(kept, item)) continue;
      const isHeld = leased.some((root) => holds(root, item));
      (isHeld ? held : gone).push(item);
    }
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let item = gone[next++]; item !== undefined; item = gone[next++]) {
        this.#c.signal.throwIfAborted();
        await this.#c.store.delete(this.#nameOf(item), OPTIONS);
        this.counters.deletedObjects += 1;
        this.counters.deletedBytes += item.bytes;
      }
    };
    const workers = Array.from({ length: Math.min(DELETES_MAX, gone.length) }, worker);
    for (const result of await Promise.allSettled(workers)) {
      if (result.status === 'rejected') throw result.reason;
    }
    if (generation === this.#generation) this.#leased = [...this.#leased, ...held];
  }

  #nameOf({ kind, id }: TrashItem): string {
    const { own } = this.#c.lineage;
    switch (kind) {
      case 'log':
        return logName(own, id);
      case 'data':
        return dataName(own, id);
      case 'table':
        return tableName(own, id);
      case 'manifest':
        return manifestName(own, id);
    }
  }
}

function keeps(reach: Reach, { kind, id }: TrashItem): boolean {
  switch (kind) {
    case 'log':
      return reach.logs.has(id);
    case 'data':
      return reach.data.has(id);
    case 'table':
      return reach.tables.has(id);
    // Manifests that are kept never come here.
    case 'manifest':
      return false;
  }
}

/**
 * A leased root may also reach the log from where its manifest says, and what commits there name.
 */
function holds({ number, manifest, reach, log }: LeasedRoot, item: TrashItem): boolean {
  if (keeps(reach, item)) return true;
  if (!log) return item.kind === 'manifest' && item.id === number;
  switch (item.kind) {
    case 'log':
      return item.id >= manifest.logNumber;
    case 'data':
      return item.segment === undefined || item.segment >= manifest.nextSegment;
    case 'table':
      return false;
    case 'manifest':
      return item.id === number;
  }
}

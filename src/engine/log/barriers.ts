// Those who wait for what was written before: for the store, or for the journal.
//
// 1. Barriers group: while the PUT of one barrier is under way the next ones wait, then share one
//    PUT. PUTs of segments that were closed because they were full run beside it.
// 2. A barrier resolves when every log number up to its own is durable, never before.
// 3. With a journal (RFC 0004) barriers wait for that instead, and close no segment. When it has
//    failed, or trails by more than it may, they wait for the store as without one.

import type { StorageError } from '../../base/errors.ts';
import type { LogJournal, LogLag } from './log-journal.ts';
import type { Segment } from './segment.ts';
import type { Uploads } from './uploads.ts';
import { Waiters } from './waiters.ts';

export interface BarriersHooks {
  readonly open: () => Segment | undefined;
  /** Closes the open segment, which is not empty. */
  readonly close: () => void;
}

export class Barriers {
  readonly #uploads: Uploads;
  readonly #hooks: BarriersHooks;
  readonly #waiters = new Waiters();
  /** What barriers wait for; undefined: for the store. */
  journal: LogJournal | undefined;
  /** The segment that a barrier closed and that is not durable yet, or 0. */
  #barrierSegment = 0;
  #stopped = false;

  constructor(uploads: Uploads, hooks: BarriersHooks) {
    this.#uploads = uploads;
    this.#hooks = hooks;
  }

  /** Bytes that the store does not hold yet, and since when. */
  lag(): LogLag {
    let bytes = 0;
    let sinceMs: number | undefined;
    for (const { segment } of this.#uploads.waiting) {
      bytes += segment.plainBytes;
      sinceMs ??= segment.openedMs;
    }
    const open = this.#hooks.open();
    if (open !== undefined && !open.empty) {
      bytes += open.plainBytes;
      sinceMs ??= open.openedMs;
    }
    return { bytes, sinceMs };
  }

  /** In the journal, or in the store. */
  wait(): void | Promise<void> {
    const { journal } = this;
    if (journal?.takesBarriers(this.lag()) !== true) return this.waitForStore();
    const waiting = journal.barrier();
    return waiting && this.#waitForJournal(journal, waiting);
  }

  /** A journal that fails under a barrier may leave it to the store. */
  async #waitForJournal(journal: LogJournal, waiting: Promise<void>): Promise<void> {
    try {
      await waiting;
    } catch (error) {
      if (this.#stopped || journal.takesBarriers(this.lag())) throw error;
      await this.waitForStore();
    }
  }

  waitForStore(): void | Promise<void> {
    const open = this.#hooks.open();
    const { durableSegment, waiting } = this.#uploads;
    let target = durableSegment;
    if (open !== undefined && !open.empty) {
      target = open.id;
      if (this.#barrierSegment === 0) this.#closeForBarrier(open);
    } else {
      target = waiting.at(-1)?.segment.id ?? target;
    }
    if (target <= durableSegment) return;
    return this.#waiters.add(target, false);
  }

  /** Resolves when a closed segment and all before it are durable, however long that takes. */
  waitForSegment(segment: number): Promise<void> {
    if (segment <= this.#uploads.durableSegment) return Promise.resolve();
    return this.#waiters.add(segment, true);
  }

  #closeForBarrier(open: Segment): void {
    this.#barrierSegment = open.id;
    this.#hooks.close();
  }

  /** The durable mark has moved. */
  advanced(): void {
    const { durableSegment, durableSequence } = this.#uploads;
    this.#waiters.wake(durableSegment);
    this.journal?.onStored(durableSequence);
    if (this.#barrierSegment !== 0 && this.#barrierSegment <= durableSegment) {
      this.#barrierSegment = 0;
      const open = this.#hooks.open();
      if (open !== undefined && this.#waiters.wantsFrom(open.id)) this.#closeForBarrier(open);
    }
  }

  /** A try to put a segment has failed; it goes on. */
  refused(error: StorageError): void {
    this.#waiters.refuse(error);
  }

  /** The log has stopped. */
  stop(error: StorageError): void {
    this.#stopped = true;
    this.#waiters.refuseAll(error);
    this.journal?.stop(error);
  }
}

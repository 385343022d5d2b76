// Keeps what the branch stores near what is alive in it (RFC 0003).
//
//   1. A merge of everything has made the counts exact: survey them.
//   2. While dead bytes are more than a soft part of the live ones: choose the emptiest segments,
//      move what lives in them into data objects, flush, merge everything, survey again.
//   3. The merge drops segments without pointers; the trash deletes their objects.
//
// Paced: while it works, writers have a credit: what is missing to the hard limit, and what each
// rewritten segment frees. With much credit left the collector rests in between (mover.ts); with
// none, writers wait. So what is stored stays below the hard limit whatever the speeds. Small
// segments, of many barriers, are joined once there are many of them.

import { messageOf, type StorageError } from '../../base/errors.ts';
import type { Publisher } from '../manifest/publisher.ts';
import { runBytes } from '../table/run.ts';
import { descriptorsOf } from '../tables.ts';
import { Credit } from './credit.ts';
import type { Grace } from './grace.ts';
import { Mover, type MoverComponents, type MoverSettings } from './mover.ts';
import type { Pins } from './pins.ts';
import {
  chooseVictims,
  fullnessFor,
  hasShrunk,
  type Space,
  spaceIn,
  survey,
  type Survey,
} from './survey.ts';
import { sweep, type SweepReport } from './sweep.ts';

export interface CollectorSettings extends MoverSettings {
  /** Dead bytes, as a part of the live ones, at which the collector begins to work. */
  readonly garbageSoft: number;
  /** The part at which writers wait for it. */
  readonly garbageHard: number;
  /** Small segments that are left alone: joining fewer gains little. */
  readonly smallSegmentsMax: number;
}

export interface CollectorComponents extends MoverComponents {
  readonly publisher: Publisher;
  readonly pins: Pins;
  readonly grace: Grace;
  readonly judge: (what: string, error: unknown) => Promise<StorageError | undefined>;
  readonly onFailed: (error: StorageError) => void;
}

/** What `collect` did and found. */
export interface CollectReport {
  readonly deletedObjects: number;
  readonly deletedBytes: number;
  readonly movedBytes: number;
  readonly storedBytes: number;
  readonly liveBytes: number;
  readonly pinnedBytes: number;
}

export type CollectProgress = (what: string, done: number, total: number) => void;

/** A segment below a sixteenth of full size is small. */
const SMALL_SHARE = 16;
/** Dead bytes that are always tolerated, in segments: rewriting the last few gains nothing. */
const SLACK_SEGMENTS = 8;
/**
 * Live bytes that one step moves at least, in segments, as a part of what lives, and per table
 * byte.
 */
const STEP_SEGMENTS = 8;
const STEP_SHARE = 0.03;
const STEP_PER_TABLE_BYTE = 10;
const RETRY_DELAY_MS = 10_000;

export class Collector {
  readonly #c: CollectorComponents;
  readonly #settings: CollectorSettings;
  #working: Promise<void> | undefined;
  /** There is something to survey. */
  #due = false;
  /** A step was done since the work began. */
  #stepped = false;
  #sweepDue = false;
  #swept = false;
  #holds = 0;
  #found: Survey | undefined;
  #keptBytes = 0;
  readonly credit = new Credit();
  readonly #mover: Mover;
  /** Let in since the flush that the counts are of. */
  #written = 0;
  #writtenEver = 0;
  /** `#writtenEver` at the survey of the last step. */
  #writtenBefore = 0;
  #cancelRetry: () => void = () => {};

  constructor(components: CollectorComponents, settings: CollectorSettings) {
    this.#c = components;
    this.#settings = settings;
    this.#mover = new Mover(components, settings, this.credit);
  }

  /** Bytes of data objects that were put. */
  get movedBytes(): number {
    return this.#mover.movedBytes;
  }

  /**
   * What the head stores, what of it lives, and what other roots keep beyond that, when last seen.
   */
  get space(): Space | undefined {
    return this.#found && spaceIn(this.#found, this.#keptBytes);
  }

  /** To be called behind every merge of all runs. */
  onMergedAll(): void {
    this.#due = true;
    this.#start();
  }

  /** To be called behind every flush: the first one of a process looks for what others left. */
  onFlushed(): void {
    if (this.#swept) return;
    this.#swept = true;
    this.sweepSoon();
  }

  /** Sweeps in the background: roots have changed. */
  sweepSoon(): void {
    this.#sweepDue = true;
    this.#start();
  }

  /** A writer was let in with so many bytes. */
  onWritten(bytes: number): void {
    this.#written += bytes;
    this.#writtenEver += bytes;
    this.credit.spend(bytes);
  }

  #start(): void {
    if (this.#c.signal.aborted || this.#holds > 0 || !(this.#due || this.#sweepDue)) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      this.#start();
    });
  }

  /** Lets no step begin until `resume`; resolves when none is under way. */
  async paused(): Promise<void> {
    this.#holds += 1;
    await this.#working;
  }

  resume(): void {
    this.#holds -= 1;
    this.#start();
  }

  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
    this.#cancelRetry();
  }

  /** A pass by hand: everything that is dead goes, and what crashes left behind. */
  async collect(onProgress: CollectProgress): Promise<CollectReport> {
    const { maintenance, commitLog, trash } = this.#c;
    const before = { ...trash.counters, movedBytes: this.movedBytes };
    onProgress('flushing', 0, 0);
    await maintenance.flushAll(commitLog);
    onProgress('merging tables', 0, 0);
    await maintenance.mergeAll();
    await this.settled();
    await trash.drained();
    await this.paused();
    let swept: SweepReport;
    try {
      swept = await sweep(this.#c, onProgress);
    } finally {
      this.resume();
    }
    await trash.drained();
    const found = await this.#survey();
    return {
      deletedObjects: trash.counters.deletedObjects - before.deletedObjects,
      deletedBytes: trash.counters.deletedBytes - before.deletedBytes,
      movedBytes: this.movedBytes - before.movedBytes,
      storedBytes: swept.storedBytes,
      liveBytes: spaceIn(found, this.#keptBytes).liveBytes,
      pinnedBytes: spaceIn(found, this.#keptBytes).pinnedBytes,
    };
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    const { signal } = this.#c;
    try {
      if (this.#sweepDue) {
        this.#sweepDue = false;
        await sweep(this.#c, () => {});
      }
      this.#due = false;
      this.#stepped = false;
      while (!signal.aborted && this.#holds === 0 && (await this.#step()));
    } catch (error) {
      if (signal.aborted) return;
      const fatal = await this.#c.judge('collection', error);
      // Damage that the collector meets is logged; a client that needs those bytes is told.
      if (fatal !== undefined && fatal.kind !== 'corrupt') return this.#c.onFailed(fatal);
      const fields = { error: messageOf(error), retryMs: RETRY_DELAY_MS };
      this.#c.log.warn('collection.failed', fields);
      this.#cancelRetry = this.#c.clock.after(RETRY_DELAY_MS, () => this.onMergedAll());
    } finally {
      this.credit.grant(Infinity);
    }
  }

  /** One round of the loop. False when there is nothing to gain. */
  async #step(): Promise<boolean> {
    const { grace, tree, maintenance, commitLog, signal } = this.#c;
    const generation = grace.enter();
    try {
      const before = this.#found;
      const found = await this.#survey();
      const isQuiet = this.#stepped && this.#writtenEver === this.#writtenBefore;
      this.#writtenBefore = this.#writtenEver;
      // Nobody has written, and the step before gained nothing: nor would the next.
      if (isQuiet && before !== undefined && !hasShrunk(before, found)) return false;
      const { segmentBytes, garbageSoft, garbageHard, smallSegmentsMax } = this.#settings;
      const dead = found.storedBytes - found.liveBytes - SLACK_SEGMENTS * segmentBytes;
      const small = found.smallSegments > smallSegmentsMax;
      if (dead <= garbageSoft * found.liveBytes && !small) return false;
      // What was let in since the flush may all be dead by now.
      const room = garbageHard * found.liveBytes - dead - this.#written;
      const liveBytesMax = this.#stepBytes(found);
      const options = await this.#surveyOptions();
      const victims = await chooseVictims(tree.runs, options, {
        fullness: fullnessFor(found, liveBytesMax),
        small,
        liveBytesMax,
      });
      const sound = this.#mover.sound(victims);
      if (sound.length === 0) return false;
      this.credit.limit(room);
      const span = (garbageHard - garbageSoft) * found.liveBytes;
      await this.#mover.move(sound, span, () => this.#holds > 0);
      this.#stepped = true;
    } finally {
      grace.leave(generation);
    }
    signal.throwIfAborted();
    this.#written = 0;
    await maintenance.flushAll(commitLog);
    await maintenance.mergeAll();
    this.#due = false;
    return true;
  }

  #stepBytes(found: Survey): number {
    const { tree } = this.#c;
    const tableBytes = tree.runs.reduce((sum, run) => sum + runBytes(descriptorsOf(run)), 0);
    return Math.max(
      STEP_SEGMENTS * this.#settings.segmentBytes,
      STEP_SHARE * found.liveBytes,
      STEP_PER_TABLE_BYTE * tableBytes,
    );
  }

  async #survey(): Promise<Survey> {
    const { grace, tree } = this.#c;
    const generation = grace.enter();
    try {
      const options = await this.#surveyOptions();
      this.#found = await survey(tree.runs, options);
      this.#keptBytes = options.kept.bytes;
      return this.#found;
    } finally {
      grace.leave(generation);
    }
  }

  async #surveyOptions(): Promise<Parameters<typeof survey>[1]> {
    const { lineage, pins, signal } = this.#c;
    const smallBytes = this.#settings.segmentBytes / SMALL_SHARE;
    return { lineage, kept: await pins.kept(), signal, smallBytes };
  }
}

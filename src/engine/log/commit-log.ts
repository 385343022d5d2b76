// The write side of the log: one open segment that takes writes, closed ones on their way to the
// store (uploads.ts), and the barriers that wait for them.
//
//   write ─► open segment ─close─► seal (workers) ─► one PUT ─► durable, in segment order ─►
//   barriers resolve
//
// 1. A segment closes when it is full, on a barrier, or after a bounded time. Closing fixes its log
//    number.
// 2. Barriers group: while the PUT of one barrier is under way the next ones wait, then share one
//    PUT. PUTs of segments that were closed because they were full run beside it.
// 3. A barrier resolves when every log number up to its own is durable, never before.
// 4. With a journal (RFC 0004) barriers wait for that instead, and close no segment. When it has
//    failed, or trails by more than it may, they wait for the store as without one.
// 5. A PUT-if-absent that finds someone else's object means that the writer was deposed: it stops
//    for good.
// 6. A store that fails does not lose anything: waiting barriers get the error, the segment stays
//    in memory and is tried again until it is there, so that a later barrier can still succeed.

import { assert } from '../../base/assert.ts';
import { StorageError } from '../../base/errors.ts';
import { sealedFrameBytesMax } from '../../codec/frame.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { logName } from '../format/names.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import { type Arena, ArenaPool } from './arena.ts';
import type {
  CommitLogComponents,
  CommitLogHooks,
  CommitLogSettings,
  CommitLogStart,
} from './options.ts';
import { Segment } from './segment.ts';
import { LOG_WINDOW, Uploads } from './uploads.ts';
import { Waiters } from './waiters.ts';

/** Of segments without bytes of their own. */
const NO_ARENA: Arena = { plain: new Uint8Array(0), sealed: new Uint8Array(0) };

/** What the log wants of a journal. */
export interface LogJournal {
  /** False when a barrier must wait for the store: the journal has failed, or trails too far. */
  takesBarriers(lag: LogLag): boolean;
  /** What changed before the call is in the journal, durable, when it settles. */
  barrier(): void | Promise<void>;
  /** Something is about to be changed, in this very turn. */
  changed(): void;
  /**
   * Takes what is left of a closing segment, whose `awaitsJournal` says whether its memory is
   * wanted until `taken`; gives the sequence that the state behind the segment includes.
   */
  closing(segment: Segment): number;
  /** The store holds what the journal's records up to here say. */
  onStored(sequence: number): void;
  stop(error: StorageError): void;
}

export interface LogLag {
  readonly bytes: number;
  /** When the oldest of them were written. */
  readonly sinceMs: number | undefined;
}

export class CommitLog {
  readonly #c: CommitLogComponents;
  readonly #settings: CommitLogSettings;
  readonly #hooks: CommitLogHooks;
  readonly #branch: string;
  readonly #epoch: number;
  readonly #arenas: ArenaPool;
  readonly #stop = new AbortController();
  /** Segments whose plaintext is in memory, open or closed, by id. */
  readonly resident = new Map<number, Segment>();
  open: Segment | undefined;
  readonly #uploads: Uploads;
  readonly #waiters = new Waiters();
  #journal: LogJournal | undefined;
  #nextSegment: number;
  #nextLogNumber: number;
  /** The segment that a barrier closed and that is not durable yet, or 0. */
  #barrierSegment = 0;
  #opening: Promise<void> | undefined;
  #failure: StorageError | undefined;
  #cancelIdle: () => void = () => {};
  readonly counters = { barriers: 0, segments: 0 };

  constructor(
    components: CommitLogComponents,
    settings: CommitLogSettings,
    hooks: CommitLogHooks,
    start: CommitLogStart,
  ) {
    assert(settings.arenas >= 2 && settings.arenas <= LOG_WINDOW, 'arenas fit the log window');
    assert(settings.segmentBytes % settings.frameBytes === 0, 'a segment is whole frames');
    assert(settings.frameBytes % BLOCK_BYTES === 0, 'a frame is whole blocks');
    this.#c = components;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#branch = start.branch;
    this.#epoch = start.epoch;
    this.#nextSegment = start.nextSegment;
    this.#nextLogNumber = start.logNumber;
    this.#uploads = new Uploads(
      components,
      settings,
      {
        onReadable: hooks.onReadable,
        onDurable: hooks.onDurable,
        onFreed: (segment) => this.#freed(segment),
        onAdvanced: () => this.#advanced(),
        onRefused: (error) => this.#waiters.refuse(error),
        onFailed: (error) => this.fail(error),
      },
      {
        segment: start.nextSegment - 1,
        logNumber: start.logNumber - 1,
        stop: this.#stop.signal,
      },
    );
    const frames = settings.segmentBytes / settings.frameBytes;
    const sealedBytes = frames * sealedFrameBytesMax(settings.frameBytes);
    this.#arenas = new ArenaPool(settings.arenas, settings.segmentBytes, sealedBytes);
  }

  get blocksMax(): number {
    return this.#settings.segmentBytes / BLOCK_BYTES;
  }

  /** The newest segment that is durable together with all before it. */
  get durableSegment(): number {
    return this.#uploads.durableSegment;
  }

  /** The newest segment that a barrier vouches for: with a journal the open one, if it is alone. */
  get acknowledgedSegment(): number {
    return this.#journal === undefined ? this.durableSegment : this.#nextSegment - 1;
  }

  /** Of the journal: the store holds what its records up to here say. */
  get durableSequence(): number {
    return this.#uploads.durableSequence;
  }

  /** Closed segments wait for the store. */
  get hasWaiting(): boolean {
    return this.#uploads.waiting.length > 0;
  }

  /** Another journal begins, and nothing waits for the store. */
  forgetSequence(): void {
    this.#uploads.forgetSequence();
  }

  /** From here on barriers wait for the journal; undefined: for the store. */
  useJournal(journal: LogJournal | undefined): void {
    this.#journal = journal;
  }

  /** Something is about to be changed, in this very turn. */
  changed(): void {
    this.#journal?.changed();
  }

  /** A closed segment's memory holds nothing that the journal still wants. */
  taken(segment: Segment): void {
    this.#uploads.taken(segment);
  }

  /** Where replay would go on after everything that is closed by now. */
  get position(): { readonly logNumber: number; readonly nextSegment: number } {
    const open = this.open;
    return {
      logNumber: this.#nextLogNumber,
      nextSegment: open === undefined ? this.#nextSegment : open.id,
    };
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Ends timers and retries after a last barrier; later calls are refused. */
  stop(): void {
    if (this.#failure === undefined) {
      this.#failure = new StorageError('aborted', 'the engine has stopped');
      this.#end(this.#failure);
    }
  }

  /** Bytes that the store does not hold yet, and since when. */
  lag(): LogLag {
    let bytes = 0;
    let sinceMs: number | undefined;
    for (const { segment } of this.#uploads.waiting) {
      bytes += segment.plainBytes;
      sinceMs ??= segment.openedMs;
    }
    const { open } = this;
    if (open !== undefined && !open.empty) {
      bytes += open.plainBytes;
      sinceMs ??= open.openedMs;
    }
    return { bytes, sinceMs };
  }

  /**
   * The open segment with room for `blocks` more blocks, closing a full one; undefined when memory
   * for a new one must be waited for: await `room()` and ask again.
   */
  tryOpen(blocks: number): Segment | undefined {
    this.throwIfFailed();
    const open = this.open;
    if (open !== undefined) {
      const overfull = open.touchedChunks >= this.#settings.touchedChunksMax;
      if (open.blocks + blocks <= this.blocksMax && !overfull) return open;
      this.#closeOpen();
    }
    if (this.#opening !== undefined) return undefined;
    const arena = this.#arenas.tryTake();
    return arena === undefined ? undefined : this.#openWith(arena);
  }

  /** Resolves when a segment is open. Rejects when the log has stopped. */
  room(): Promise<void> {
    this.#opening ??= this.#openLater();
    return this.#opening;
  }

  async #openLater(): Promise<void> {
    try {
      const arena = await this.#arenas.take();
      assert(this.open === undefined, 'one segment is open at a time');
      this.#openWith(arena);
    } finally {
      this.#opening = undefined;
    }
  }

  #openWith(arena: Segment['arena']): Segment {
    const now = this.#c.clock.monotonicMs();
    // Asked first: it may freeze the memtable at the position before this segment.
    const memtable = this.#hooks.memtable();
    const segment = new Segment(this.#nextSegment++, arena, memtable, now);
    this.open = segment;
    this.resident.set(segment.id, segment);
    this.#closeWhenIdle(segment);
    return segment;
  }

  /**
   * Commits blocks that were moved into a data object, which is durable: `fill` points the memtable
   * at them, in the very turn in which the caller compared their pointers, and changes at least
   * one. No bytes of clients are in the segment, and none of these blocks in a segment of theirs.
   */
  commitRelocation(
    relocated: Omit<FrameTable, 'logNumber'>,
    fill: (segment: Segment) => void,
  ): void {
    this.throwIfFailed();
    this.#endOpen();
    const memtable = this.#hooks.memtable();
    const now = this.#c.clock.monotonicMs();
    const segment = new Segment(this.#nextSegment++, NO_ARENA, memtable, now);
    segment.relocated = relocated;
    fill(segment);
    // It can be read at once: the data object is there.
    memtable.putSegment(segment.id, { ...relocated, logNumber: this.#nextLogNumber });
    this.open = segment;
    this.#closeOpen();
  }

  /** No segment is open when it returns: what follows comes behind `position`. */
  cut(): void {
    this.throwIfFailed();
    this.#endOpen();
  }

  /** Closes the open segment, or gives an empty one back as if it had never been opened. */
  #endOpen(): void {
    const open = this.open;
    if (open === undefined) return;
    if (!open.empty) {
      this.#closeOpen();
      return;
    }
    this.open = undefined;
    this.#cancelIdle();
    this.resident.delete(open.id);
    this.#nextSegment -= 1;
    this.#arenas.give(open.arena);
  }

  #closeWhenIdle(segment: Segment): void {
    this.#cancelIdle = this.#c.clock.after(this.#settings.idleCloseMs, () => {
      if (segment.empty) this.#closeWhenIdle(segment);
      else this.#closeOpen();
    });
  }

  /**
   * Everything that was written before the call is durable when it settles. Returns nothing when it
   * already is. Rejects with the store's error when the store gives up; what was written stays
   * queued and a later barrier may succeed.
   */
  barrier(): void | Promise<void> {
    this.throwIfFailed();
    this.counters.barriers += 1;
    const journal = this.#journal;
    if (journal?.takesBarriers(this.lag()) !== true) return this.#storeBarrier();
    const waiting = journal.barrier();
    return waiting && this.#journalBarrier(journal, waiting);
  }

  /** A journal that fails under a barrier may leave it to the store. */
  async #journalBarrier(journal: LogJournal, waiting: Promise<void>): Promise<void> {
    try {
      await waiting;
    } catch (error) {
      if (this.#failure !== undefined || journal.takesBarriers(this.lag())) throw error;
      await this.#storeBarrier();
    }
  }

  /** As `barrier`, whatever the tier: the store has it. */
  storeBarrier(): void | Promise<void> {
    this.throwIfFailed();
    return this.#storeBarrier();
  }

  #storeBarrier(): void | Promise<void> {
    const open = this.open;
    let target = this.durableSegment;
    if (open !== undefined && !open.empty) {
      target = open.id;
      if (this.#barrierSegment === 0) this.#closeForBarrier();
    } else {
      target = this.#uploads.waiting.at(-1)?.segment.id ?? target;
    }
    if (target <= this.durableSegment) return;
    return this.#waiters.add(target, false);
  }

  /** Resolves when a closed segment and all before it are durable, however long that takes. */
  whenDurable(segment: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (segment <= this.durableSegment) return Promise.resolve();
    return this.#waiters.add(segment, true);
  }

  #closeForBarrier(): void {
    this.#barrierSegment = this.open!.id;
    this.#closeOpen();
  }

  #closeOpen(): void {
    const segment = this.open!;
    assert(!segment.empty, 'an empty segment is never closed');
    this.open = undefined;
    this.#cancelIdle();
    const logNumber = this.#nextLogNumber++;
    const journal = this.#journal;
    // Before its record is made: that says how far the journal is part of it.
    const journalSequence = journal?.closing(segment) ?? 0;
    const chunks = segment.encodeChunks();
    this.counters.segments += 1;
    this.#uploads.add({
      segment,
      name: logName(this.#branch, logNumber),
      logNumber,
      epoch: this.#epoch,
      durableBefore: this.#uploads.durableLogNumber + 1,
      chunks,
      journalSequence,
      taken: journal === undefined || !segment.awaitsJournal,
      readable: false,
      table: undefined,
    });
  }

  #freed(segment: Segment): void {
    this.resident.delete(segment.id);
    if (segment.arena !== NO_ARENA) this.#arenas.give(segment.arena);
  }

  #advanced(): void {
    this.#waiters.wake(this.durableSegment);
    this.#journal?.onStored(this.durableSequence);
    if (this.#barrierSegment !== 0 && this.#barrierSegment <= this.durableSegment) {
      this.#barrierSegment = 0;
      const open = this.open;
      if (open !== undefined && this.#waiters.wantsFrom(open.id)) {
        this.#closeForBarrier();
      }
    }
  }

  /** Stops the log for good: every waiter and every later call gets `error`. */
  fail(error: StorageError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#end(error);
    this.#hooks.onFailed(error);
  }

  #end(error: StorageError): void {
    this.#cancelIdle();
    this.#stop.abort(error);
    this.#arenas.close(error);
    this.#waiters.refuseAll(error);
    this.#uploads.stopped();
    this.#journal?.stop(error);
  }
}

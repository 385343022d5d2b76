// The write side of the log: one open segment that takes writes, closed ones on their way to the
// store (uploads.ts), and the barriers that wait for them (barriers.ts).
//
//   write ─► open segment ─close─► seal (workers) ─► one PUT ─► durable, in segment order ─►
//   barriers resolve
//
// 1. A segment closes when it is full, on a barrier, or after a bounded time. Closing fixes its log
//    number.
// 2. A PUT-if-absent that finds someone else's object means that the writer was deposed: it stops
//    for good.
// 3. A store that fails does not lose anything: waiting barriers get the error, the segment stays
//    in memory and is tried again until it is there, so that a later barrier can still succeed.

import { assert } from '../../base/assert.ts';
import { StorageError } from '../../base/errors.ts';
import { sealedFrameBytesMax } from '../../codec/frame.ts';
import type { FrameTable } from '../format/frame-table.ts';
import { logName } from '../format/names.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import { ArenaPool, NO_ARENA } from './arena.ts';
import { Barriers } from './barriers.ts';
import type { LogJournal, LogLag } from './log-journal.ts';
import type {
  CommitLogComponents,
  CommitLogHooks,
  CommitLogSettings,
  CommitLogStart,
} from './options.ts';
import { Segment } from './segment.ts';
import { LOG_WINDOW, Uploads } from './uploads.ts';

export class CommitLog {
  readonly #c: CommitLogComponents;
  readonly #settings: CommitLogSettings;
  readonly #hooks: CommitLogHooks;
  readonly #owner: Pick<CommitLogStart, 'branch' | 'epoch'>;
  readonly #arenas: ArenaPool;
  readonly #stop = new AbortController();
  /** Segments whose plaintext is in memory, open or closed, by id. */
  readonly resident = new Map<number, Segment>();
  open: Segment | undefined;
  readonly uploads: Uploads;
  readonly #barriers: Barriers;
  #nextSegment: number;
  #nextLogNumber: number;
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
    this.#owner = start;
    this.#nextSegment = start.nextSegment;
    this.#nextLogNumber = start.logNumber;
    this.uploads = new Uploads(
      components,
      settings,
      {
        onClosed: hooks.onClosed,
        onReadable: hooks.onReadable,
        onDurable: hooks.onDurable,
        onFreed: (segment) => this.#freed(segment),
        onAdvanced: () => this.#barriers.advanced(),
        onRefused: (error) => this.#barriers.refused(error),
        onFailed: (error) => this.fail(error),
      },
      { segment: start.nextSegment - 1, logNumber: start.logNumber - 1, stop: this.#stop.signal },
    );
    this.#barriers = new Barriers(this.uploads, {
      open: () => this.open,
      close: () => this.#closeOpen(),
    });
    const frames = settings.segmentBytes / settings.frameBytes;
    const sealedBytes = frames * sealedFrameBytesMax(settings.frameBytes);
    this.#arenas = new ArenaPool(settings.arenas, settings.segmentBytes, sealedBytes);
  }

  get blocksMax(): number {
    return this.#settings.segmentBytes / BLOCK_BYTES;
  }

  /** The newest segment that is durable together with all before it. */
  get durableSegment(): number {
    return this.uploads.durableSegment;
  }

  /** The newest segment that a barrier vouches for: with a journal the open one, if it is alone. */
  get acknowledgedSegment(): number {
    return this.#barriers.journal === undefined ? this.durableSegment : this.#nextSegment - 1;
  }

  /** From here on barriers wait for the journal. */
  useJournal(journal: LogJournal): void {
    this.#barriers.journal = journal;
  }

  /** Something is about to be changed, in this very turn. */
  changed(): void {
    this.#barriers.journal?.changed();
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

  /** Ends timers and retries after a last barrier; later calls are refused. */
  stop(): void {
    if (this.#failure !== undefined) return;
    this.#end(new StorageError('aborted', 'the engine has stopped'));
  }

  /** Bytes that the store does not hold yet, and since when. */
  lag(): LogLag {
    return this.#barriers.lag();
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
    return this.#barriers.wait();
  }

  /** As `barrier`, whatever the tier: the store has it. */
  storeBarrier(): void | Promise<void> {
    this.throwIfFailed();
    return this.#barriers.waitForStore();
  }

  /** Resolves when a closed segment and all before it are durable, however long that takes. */
  whenDurable(segment: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return this.#barriers.waitForSegment(segment);
  }

  #closeOpen(): void {
    const segment = this.open!;
    assert(!segment.empty, 'an empty segment is never closed');
    this.open = undefined;
    this.#cancelIdle();
    const logNumber = this.#nextLogNumber++;
    const { journal } = this.#barriers;
    // Before its record is made: that says how far the journal is part of it.
    const journalSequence = journal?.closing(segment) ?? 0;
    const chunks = segment.encodeChunks();
    this.counters.segments += 1;
    this.uploads.add({
      segment,
      name: logName(this.#owner.branch, logNumber),
      logNumber,
      epoch: this.#owner.epoch,
      durableBefore: this.uploads.durableLogNumber + 1,
      chunks,
      journalSequence,
      taken: journal === undefined || !segment.awaitsJournal,
      readable: false,
      cached: false,
      table: undefined,
    });
  }

  #freed(segment: Segment): void {
    this.resident.delete(segment.id);
    if (segment.arena !== NO_ARENA) this.#arenas.give(segment.arena);
  }

  /** Stops the log for good: every waiter and every later call gets `error`. */
  fail(error: StorageError): void {
    if (this.#failure !== undefined) return;
    this.#end(error);
    this.#hooks.onFailed(error);
  }

  #end(error: StorageError): void {
    this.#failure = error;
    this.#cancelIdle();
    this.#stop.abort(error);
    this.#arenas.close(error);
    this.#barriers.stop(error);
    this.uploads.stopped();
  }
}

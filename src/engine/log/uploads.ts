// Closed segments on their way to the store, in order: sealed by the workers, put, durable.
//
//   store tier     seal ─► put, tried again for as long as it takes ─► durable
//   journal tier   seal ─► put from memory, two at a time and not for long ─► durable
//                      └─► spool file, memory free ─► put from there ────────► durable
//
// 1. The durable mark moves over objects that are there, in the order of their log numbers.
// 2. No put begins for a number that is LOG_WINDOW or more beyond the first that is not durable:
//    the fence of a successor relies on it (RFC 0001).
// 3. A segment's memory is given back when it can be read from elsewhere (its frame table is known
//    and the object is durable or spooled), the cache has been given its blocks, and the journal
//    has taken what it wants of it.
// 4. A put-if-absent that finds someone else's object means that the writer was deposed.

import { asStorageError, isStorageError, type StorageError } from '../../base/errors.ts';
import { Semaphore } from '../../base/semaphore.ts';
import { Deadline } from '../../objectstore/deadline.ts';
import type { FrameTable } from '../format/frame-table.ts';
import type { CommitLogComponents, CommitLogHooks, CommitLogSettings } from './options.ts';
import { type ClosedSegment, sealSegment, type SealedSegment } from './seal-segment.ts';
import type { Segment } from './segment.ts';
import type { Spool } from './spool.ts';
import { fencedError, uploadSegment } from './upload.ts';

/**
 * A writer never has more log numbers under way than this; a fence skips as many
 * (docs/formats/log.md).
 */
export const LOG_WINDOW = 64;

/**
 * The cache is given so many blocks of a closed segment in one turn, beside the upload: a whole
 * segment takes milliseconds, and tens of them when the memory is touched for the first time.
 */
const CACHED_BLOCKS_PER_TURN = 64;
/** Of the journal tier: puts that keep a segment's memory. */
const DIRECT_PUTS_MAX = 2;
/** After so long such a put is cut off, and the segment spooled. */
const DIRECT_PUT_MS = 1000;
/** Puts from spool files, each with a segment's size of memory. */
const SPOOL_PUTS_MAX = 4;

export interface Closed extends ClosedSegment {
  /** What the journal has to say by then: the state behind it includes its records up to here. */
  readonly journalSequence: number;
  /** The journal has what it wants of its memory. */
  taken: boolean;
  /** Its memory is not needed for reading. */
  readable: boolean;
  /** The cache has been given its blocks. */
  cached: boolean;
  /** Set when the object is there. */
  table: FrameTable | undefined;
}

export interface UploadsHooks extends Pick<
  CommitLogHooks,
  'onClosed' | 'onReadable' | 'onDurable'
> {
  /** A segment's memory is not needed any more. */
  readonly onFreed: (segment: Segment) => void;
  /** The durable mark has moved. */
  readonly onAdvanced: () => void;
  /** A try to put a segment has failed; it goes on. */
  readonly onRefused: (error: StorageError) => void;
  readonly onFailed: (error: StorageError) => void;
}

export class Uploads {
  readonly #c: CommitLogComponents;
  readonly #settings: CommitLogSettings;
  readonly #hooks: UploadsHooks;
  readonly #spool: Spool | undefined;
  readonly #stop: AbortSignal;
  readonly #direct = new Semaphore(DIRECT_PUTS_MAX);
  readonly #fromSpool = new Semaphore(SPOOL_PUTS_MAX);
  #queue: Closed[] = [];
  /** Segments whose memory is in use. */
  readonly #held = new Map<Segment, Closed>();
  #durableSegment: number;
  #durableLogNumber: number;
  #durableSequence = 0;
  #moved = Promise.withResolvers<void>();

  constructor(
    components: CommitLogComponents,
    settings: CommitLogSettings,
    hooks: UploadsHooks,
    start: { readonly segment: number; readonly logNumber: number; readonly stop: AbortSignal },
  ) {
    this.#c = components;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#spool = components.spool;
    this.#stop = start.stop;
    this.#durableSegment = start.segment;
    this.#durableLogNumber = start.logNumber;
  }

  /** The newest segment that is durable together with all before it. */
  get durableSegment(): number {
    return this.#durableSegment;
  }

  get durableLogNumber(): number {
    return this.#durableLogNumber;
  }

  /** Of the journal: the store holds what its records up to here say. */
  get durableSequence(): number {
    return this.#durableSequence;
  }

  /** Another journal begins: what was stored of the one before says nothing of it. */
  forgetSequence(): void {
    this.#durableSequence = 0;
  }

  /** Closed segments that are not durable, oldest first. */
  get waiting(): readonly Closed[] {
    return this.#queue;
  }

  /**
   * The upload owns its failures: it ends when the object is there, or when the log has stopped.
   */
  add(closed: Closed): void {
    this.#queue.push(closed);
    this.#held.set(closed.segment, closed);
    void this.#upload(closed);
    void this.#cache(closed);
  }

  /** Begins in this turn. */
  async #cache(closed: Closed): Promise<void> {
    const { segment } = closed;
    try {
      for (let at = 0; at < segment.blocks; at += CACHED_BLOCKS_PER_TURN) {
        if (at > 0) await this.#c.clock.yieldTurn();
        if (this.#stop.aborted) return;
        const count = Math.min(CACHED_BLOCKS_PER_TURN, segment.blocks - at);
        this.#hooks.onClosed(segment, at, count);
      }
      closed.cached = true;
      this.#free(closed);
    } catch (error) {
      this.#hooks.onFailed(asStorageError(error, 'the log stopped'));
    }
  }

  /** The journal has taken what it wants of a closed segment's memory. */
  taken(segment: Segment): void {
    const closed = this.#held.get(segment);
    if (closed === undefined) return;
    closed.taken = true;
    this.#free(closed);
  }

  async #upload(closed: Closed): Promise<void> {
    try {
      closed.table =
        this.#spool === undefined
          ? await this.#put(closed, undefined)
          : await this.#putOrSpool(closed, this.#spool);
      this.#advance();
    } catch (error) {
      this.#hooks.onFailed(asStorageError(error, 'the log stopped'));
    }
  }

  async #put(closed: Closed, sealed: SealedSegment | undefined): Promise<FrameTable> {
    await this.#inWindow(closed);
    const { onRefused } = this.#hooks;
    return uploadSegment(this.#c, this.#settings, closed, sealed, this.#stop, onRefused);
  }

  async #putOrSpool(closed: Closed, spool: Spool): Promise<FrameTable> {
    const sealed = await sealSegment(this.#c, this.#settings, closed);
    if (await this.#putDirectly(closed, sealed)) return sealed.table;
    const { name } = closed;
    while (!(await spool.put(name, sealed.body))) {
      // The spool is full, or its disk refuses: writers wait for memory, this waits for the store.
      if (this.#queue[0] === closed) return this.#put(closed, sealed);
      await this.#moved.promise;
      this.#stop.throwIfAborted();
    }
    this.#hooks.onReadable(closed.segment, sealed.table);
    closed.readable = true;
    this.#free(closed);
    // First: those beyond the window would wait, with all permits, for one that waits for a permit.
    await this.#inWindow(closed);
    await this.#fromSpool.acquire();
    try {
      const body = [await spool.read(name, 0, spool.bytesOf(name))];
      await this.#put(closed, { table: sealed.table, body });
    } finally {
      this.#fromSpool.release();
    }
    spool.remove(name);
    return sealed.table;
  }

  /** False when it shall be spooled. */
  async #putDirectly(closed: Closed, { body }: SealedSegment): Promise<boolean> {
    const isInWindow = closed.logNumber < this.#durableLogNumber + LOG_WINDOW;
    if (!isInWindow || !this.#direct.tryAcquire()) return false;
    const deadline = new Deadline(this.#c.clock, this.#stop);
    deadline.arm(DIRECT_PUT_MS);
    try {
      const options = { cause: 'barrier', signal: deadline.signal } as const;
      await this.#c.store.putIfAbsent(closed.name, body, options);
      return true;
    } catch (error) {
      this.#stop.throwIfAborted();
      if (isStorageError(error, 'exists')) throw fencedError(closed);
      if (!isStorageError(error)) throw error;
      // It goes on from the spool: whoever waits for the store is told when that gives up.
      return false;
    } finally {
      deadline.dispose();
      this.#direct.release();
    }
  }

  async #inWindow({ logNumber }: Closed): Promise<void> {
    while (logNumber > this.#durableLogNumber + LOG_WINDOW) {
      await this.#moved.promise;
      this.#stop.throwIfAborted();
    }
  }

  /** Moves the durable mark over every object that is there, in order. */
  #advance(): void {
    if (this.#stop.aborted) return;
    for (;;) {
      const first = this.#queue[0];
      if (first?.table === undefined) break;
      const { segment, table } = first;
      if (!first.readable) {
        this.#hooks.onReadable(segment, table);
        first.readable = true;
        this.#free(first);
      }
      this.#queue.shift();
      this.#durableSegment = segment.id;
      this.#durableLogNumber = first.logNumber;
      this.#durableSequence = first.journalSequence;
      this.#hooks.onDurable(segment, table);
    }
    this.#wake();
    this.#hooks.onAdvanced();
  }

  #free(closed: Closed): void {
    if (!closed.taken || !closed.readable || !closed.cached) return;
    this.#held.delete(closed.segment);
    this.#hooks.onFreed(closed.segment);
  }

  #wake(): void {
    const moved = this.#moved;
    this.#moved = Promise.withResolvers<void>();
    moved.resolve();
  }

  /** Those who wait for others find out that the log has stopped. */
  stopped(): void {
    this.#wake();
  }
}

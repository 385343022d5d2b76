// The barriers of the journal tier: what changed goes to the journal, one record at a time.
//
//   1. A segment that closes hands over what changed in it since the last record: its own record.
//   2. A barrier asks for a record of what changed in the open segment.
//   3. Records are written in the order of their sequences; an fdatasync comes with a record that
//      somebody waits for. Who asks while one is under way shares the next.
//   4. A barrier resolves when the record that holds its changes, and all before it, are durable.
//   5. Where a barrier is foreseen (foresight.ts) its record is on its way before it is asked for.

import { assert } from '../../base/assert.ts';
import type { StorageError } from '../../base/errors.ts';
import { allocateShared } from '../../codec/shared.ts';
import { encodeChangeHead, runsOf } from '../format/journal-change.ts';
import { BLOCK_BYTES } from '../format/pointer.ts';
import type { Segment, SegmentDelta } from '../log/segment.ts';
import { Waiters } from '../log/waiters.ts';
import { Foresight } from './foresight.ts';
import type { Journal } from './journal.ts';

interface Pending {
  readonly sequence: number;
  readonly segment: Segment;
  readonly delta: SegmentDelta;
}

interface Next {
  readonly sequence: number;
  readonly plain: Uint8Array;
  readonly durable: boolean;
  readonly onDurable?: () => void;
}

export interface JournalerHooks {
  readonly open: () => Segment | undefined;
  /** Nothing of a closed segment's plaintext is needed for the journal any more. */
  readonly taken: (segment: Segment) => void;
  /** The journal is no more. */
  readonly onFailed: (error: StorageError) => void;
}

/** A buffer that had to grow has so much room for the next record. */
const ROOM_BYTES = 256 * 1024;

export class Journaler {
  readonly journal: Journal;
  readonly #hooks: JournalerHooks;
  readonly #waiters = new Waiters();
  readonly #foresight = new Foresight();
  /** The next record goes ahead of a barrier that is foreseen. */
  #goesAhead = false;
  #pending: Pending[] = [];
  /** The newest sequence that was given away. */
  #assigned: number;
  #durable: number;
  #working: Promise<void> | undefined;
  #stopped = false;
  /** Called when the mark that the journal goes on with is durable. */
  #onMarked: (() => void) | undefined;
  #plain = allocateShared(ROOM_BYTES);

  /** Goes on behind `sequence`, up to which the bucket has everything. */
  constructor(journal: Journal, sequence: number, hooks: JournalerHooks) {
    this.journal = journal;
    this.#hooks = hooks;
    this.#assigned = sequence;
    this.#durable = sequence;
  }

  get durable(): number {
    return this.#durable;
  }

  get assigned(): number {
    return this.#assigned;
  }

  /** The sequence that the state behind a closing segment includes. */
  closing(segment: Segment): number {
    // What is only moved needs no journal: until the store has it, it lies where it was.
    if (segment.hasDelta && segment.relocated === undefined) {
      const sequence = ++this.#assigned;
      segment.awaitsJournal = true;
      this.#pending.push({ sequence, segment, delta: segment.takeDelta() });
      this.#start();
    }
    return this.#assigned;
  }

  /** As `CommitLog.barrier`. */
  barrier(): void | Promise<void> {
    this.#foresight.barrier();
    const wanted = this.#hooks.open()?.hasDelta === true ? this.#assigned + 1 : this.#assigned;
    if (wanted <= this.#durable) return;
    const waiting = this.#waiters.add(wanted, false);
    this.#start();
    return waiting;
  }

  /** Something is about to be changed, in this very turn. */
  changed(): void {
    // Behind this turn: whoever changes something has the answer first.
    if (this.#foresight.changed()) void Promise.resolve().then(() => this.#goAhead());
  }

  #goAhead(): void {
    if (this.#working !== undefined || this.#hooks.open()?.hasDelta !== true) return;
    this.#goesAhead = true;
    this.#start();
  }

  #start(): void {
    if (this.#stopped) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    try {
      for (;;) {
        const next = this.#take();
        if (next === undefined) return;
        const { sequence, plain, durable } = next;
        await this.journal.append(plain, sequence, durable);
        if (!durable) continue;
        this.#durable = sequence;
        next.onDurable?.();
        this.#waiters.wake(sequence);
      }
    } catch (error) {
      this.#fail(error as StorageError);
    }
  }

  #take(): Next | undefined {
    if (this.#stopped) return undefined;
    const onDurable = this.#onMarked;
    this.#onMarked = undefined;
    if (onDurable !== undefined) return { ...this.#mark(), durable: true, onDurable };
    const pending = this.#pending.shift();
    if (pending !== undefined) {
      const { sequence, segment, delta } = pending;
      const plain = this.#encode(segment, delta);
      this.#letGo(segment);
      // With more of them to come, the last one's fdatasync serves whoever waits for this one.
      const durable = this.#pending.length === 0 && this.#waiters.wantsUpTo(sequence);
      return { sequence, plain, durable };
    }
    const open = this.#hooks.open();
    const ahead = this.#goesAhead && open?.hasDelta === true;
    this.#goesAhead = false;
    if (!ahead && !this.#waiters.wantsFrom(this.#durable + 1)) return undefined;
    assert(
      open?.hasDelta === true || this.#assigned > this.#durable,
      'a barrier waits for a change',
    );
    // Nothing is new, but what was written was not synced: an empty record carries the fdatasync.
    const delta = open?.hasDelta === true ? open.takeDelta() : NO_DELTA;
    const sequence = ++this.#assigned;
    return { sequence, plain: this.#encode(open, delta), durable: true };
  }

  #encode(segment: Segment | undefined, delta: SegmentDelta): Uint8Array {
    const head = encodeChangeHead(segment?.id ?? 1, delta);
    const bytes = head.length + delta.blocks.length * BLOCK_BYTES;
    if (this.#plain.length < bytes) this.#plain = allocateShared(bytes + ROOM_BYTES);
    this.#plain.set(head, 0);
    let at = head.length;
    for (const { first, count } of runsOf(delta.blocks)) {
      const from = first * BLOCK_BYTES;
      const to = from + count * BLOCK_BYTES;
      this.#plain.set(segment!.arena.plain.subarray(from, to), at);
      at += to - from;
    }
    return this.#plain.subarray(0, bytes);
  }

  #letGo(segment: Segment): void {
    segment.awaitsJournal = false;
    this.#hooks.taken(segment);
  }

  /**
   * Says in the journal, durably, that the store has everything: the first record of a journal,
   * before a manifest names it, and the last of one that another takes over from.
   */
  async markStored(): Promise<void> {
    await this.#working;
    const { sequence, plain } = this.#mark();
    this.#durable = sequence;
    await this.journal.append(plain, sequence, true);
  }

  /** The same as the next record, ahead of whatever is asked for; then `onDurable` is called. */
  beginWithMark(onDurable: () => void): void {
    this.#onMarked = onDurable;
    this.#start();
  }

  #mark(): { sequence: number; plain: Uint8Array } {
    const sequence = ++this.#assigned;
    this.journal.release(sequence);
    return { sequence, plain: this.#encode(undefined, NO_DELTA) };
  }

  #fail(error: StorageError): void {
    if (this.#stopped) return;
    this.stop(error);
    this.#hooks.onFailed(error);
  }

  /** Whoever waits gets `error`; segments that wait to be journaled are let go. */
  stop(error: StorageError): void {
    this.#stopped = true;
    const pending = this.#pending;
    this.#pending = [];
    for (const { segment } of pending) this.#letGo(segment);
    this.#waiters.refuseAll(error);
  }

  /** Resolves when no record is under way. */
  async settled(): Promise<void> {
    await this.#working;
  }
}

/** Of a record that changes nothing. */
export const NO_DELTA: SegmentDelta = {
  metas: [],
  chunks: Uint8Array.of(0),
  blocks: [],
};

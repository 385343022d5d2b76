// The published policies that weigh how often a key is read: LIRS (Jiang and Zhang 2002) and
// W-TinyLFU (Einziger, Friedman and Manes 2017). Companion of reference-policies.ts.

import { hashPair } from '../base/pair-map.ts';
import type { ReferencePolicy } from './reference-policies.ts';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

const HOT = 1;
const COLD = 2;
const GONE = 3;

/** Keeps the keys whose last two reads lie closest together; 1 % of the room is for the others. */
export class Lirs implements ReferencePolicy {
  readonly #capacity: number;
  readonly #hotMax: number;
  /** Hot keys, and whatever was read since the oldest of them was; that one is at its bottom. */
  readonly #stack: SlotQueue;
  readonly #cold: SlotQueue;
  /** Keys in the stack whose content was dropped, in the order in which that happened. */
  readonly #gone: SlotQueue;
  readonly #state: Uint8Array;
  readonly #inStack: Uint8Array;
  #hotCount = 0;

  constructor(capacity: number, keyCount: number) {
    this.#capacity = capacity;
    this.#hotMax = Math.max(1, capacity - Math.max(1, Math.floor(capacity / 100)));
    this.#stack = new SlotQueue(new SlotLinks(keyCount));
    const links = new SlotLinks(keyCount);
    this.#cold = new SlotQueue(links);
    this.#gone = new SlotQueue(links);
    this.#state = new Uint8Array(keyCount);
    this.#inStack = new Uint8Array(keyCount);
  }

  has(key: number): boolean {
    const state = this.#state[key];
    return state === HOT || state === COLD;
  }

  read(key: number): boolean {
    const state = this.#state[key]!;
    const wasInStack = this.#inStack[key] === 1;
    if (state === HOT) {
      this.#toTop(key);
      this.#prune();
      return true;
    }
    if (state === COLD) {
      this.#cold.remove(key);
      if (wasInStack) this.#promote(key);
      else this.#cold.push(key);
      this.#toTop(key);
      this.#prune();
      return true;
    }
    if (this.#hotCount + this.#cold.size === this.#capacity) this.#evict();
    if (this.#state[key] === GONE) {
      this.#gone.remove(key);
      this.#promote(key);
    } else if (this.#hotCount < this.#hotMax) {
      this.#state[key] = HOT;
      this.#hotCount += 1;
    } else {
      this.#state[key] = COLD;
      this.#cold.push(key);
    }
    this.#toTop(key);
    this.#prune();
    return false;
  }

  #toTop(key: number): void {
    if (this.#inStack[key] === 1) this.#stack.remove(key);
    this.#inStack[key] = 1;
    this.#stack.push(key);
  }

  /** Makes `key` hot; the hot key that was read longest ago takes its place among the cold. */
  #promote(key: number): void {
    this.#state[key] = HOT;
    this.#hotCount += 1;
    if (this.#hotCount <= this.#hotMax) return;
    const demoted = this.#stack.shift();
    this.#inStack[demoted] = 0;
    this.#state[demoted] = COLD;
    this.#cold.push(demoted);
    this.#hotCount -= 1;
  }

  #evict(): void {
    const key = this.#cold.shift();
    this.#state[key] = this.#inStack[key] === 1 ? GONE : 0;
    if (this.#state[key] !== GONE) return;
    this.#gone.push(key);
    // The paper lets the stack grow; every implementation bounds it.
    if (this.#gone.size <= this.#capacity * 2) return;
    const oldest = this.#gone.shift();
    this.#state[oldest] = 0;
    this.#inStack[oldest] = 0;
    this.#stack.remove(oldest);
  }

  /** The bottom of the stack is always hot. */
  #prune(): void {
    for (;;) {
      const bottom = this.#stack.oldest;
      if (bottom < 0 || this.#state[bottom] === HOT) return;
      this.#stack.shift();
      this.#inStack[bottom] = 0;
      if (this.#state[bottom] !== GONE) continue;
      this.#gone.remove(bottom);
      this.#state[bottom] = 0;
    }
  }
}

/** How often keys were read lately: four counters of four bits each, all halved now and then. */
class FrequencySketch {
  readonly #counters: Uint8Array;
  readonly #mask: number;
  readonly #sample: number;
  #added = 0;

  constructor(capacity: number) {
    let width = 64;
    while (width < capacity * 4) width *= 2;
    this.#counters = new Uint8Array(width * 4);
    this.#mask = width - 1;
    this.#sample = capacity * 10;
  }

  add(key: number): void {
    for (let row = 0; row < 4; row++) {
      const at = this.#at(key, row);
      if (this.#counters[at]! < 15) this.#counters[at]! += 1;
    }
    this.#added += 1;
    if (this.#added < this.#sample) return;
    this.#added >>= 1;
    for (let at = 0; at < this.#counters.length; at++) this.#counters[at]! >>= 1;
  }

  count(key: number): number {
    let least = 15;
    for (let row = 0; row < 4; row++) {
      least = Math.min(least, this.#counters[this.#at(key, row)]!);
    }
    return least;
  }

  #at(key: number, row: number): number {
    return row * (this.#mask + 1) + (hashPair(row, key) & this.#mask);
  }
}

const WINDOW = 1;
const PROBATION = 2;
const PROTECTED = 3;

/** A new key passes a window of 1 %, then must have been read more often than who would leave. */
export class TinyLfu implements ReferencePolicy {
  readonly #capacity: number;
  readonly #windowMax: number;
  readonly #protectedMax: number;
  readonly #queues: readonly SlotQueue[];
  readonly #place: Uint8Array;
  readonly #sketch: FrequencySketch;

  constructor(capacity: number, keyCount: number) {
    const links = new SlotLinks(keyCount);
    this.#capacity = capacity;
    this.#windowMax = Math.max(1, Math.floor(capacity / 100));
    this.#protectedMax = Math.floor((capacity - this.#windowMax) * 0.8);
    this.#queues = Array.from({ length: 4 }, () => new SlotQueue(links));
    this.#place = new Uint8Array(keyCount);
    this.#sketch = new FrequencySketch(capacity);
  }

  has(key: number): boolean {
    return this.#place[key] !== 0;
  }

  read(key: number): boolean {
    this.#sketch.add(key);
    const place = this.#place[key]!;
    if (place === 0) {
      this.#move(key, WINDOW);
      if (this.#queues[WINDOW]!.size > this.#windowMax) this.#admit(this.#queues[WINDOW]!.oldest);
      return false;
    }
    this.#move(key, place === WINDOW ? WINDOW : PROTECTED);
    const guarded = this.#queues[PROTECTED]!;
    if (guarded.size > this.#protectedMax) this.#move(guarded.oldest, PROBATION);
    return true;
  }

  #admit(candidate: number): void {
    const probation = this.#queues[PROBATION]!;
    const guarded = this.#queues[PROTECTED]!;
    const victim = probation.size > 0 ? probation.oldest : guarded.oldest;
    const full = this.#windowMax + probation.size + guarded.size >= this.#capacity;
    const better = !full || this.#sketch.count(candidate) > this.#sketch.count(victim);
    if (full) this.#move(better ? victim : candidate, 0);
    if (better) this.#move(candidate, PROBATION);
  }

  /** To the young end of a queue; place 0 is outside. */
  #move(key: number, to: number): void {
    const from = this.#place[key]!;
    if (from !== 0) this.#queues[from]!.remove(key);
    this.#place[key] = to;
    if (to !== 0) this.#queues[to]!.push(key);
  }
}

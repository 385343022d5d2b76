// Published replacement policies, simulated on keys alone, to measure ours against: LRU, 2Q
// (Johnson and Shasha 1994), ARC (Megiddo and Modha 2003), SIEVE (Zhang et al. 2024), and Belady's
// MIN, which sees the future and bounds them all. LIRS and W-TinyLFU: reference-frequency.ts.
//
// A key is an integer in [0, keyCount) and is its own slot in the queues, so that nothing has to be
// looked up and a simulated read costs about as much as a real one.
//
// Only tests and benchmarks use this.

import { hashPair } from '../base/pair-map.ts';
import type { CreateEvictionPolicy, EvictionPolicy } from './eviction-policy.ts';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

export interface ReferencePolicy {
  has(key: number): boolean;
  /** Reads a key, and keeps it. Whether it was held before. */
  read(key: number): boolean;
  /**
   * Keeps a key that nobody has read, because somebody is expected to or because it came along.
   * What was published knows no such thing and takes it for a read.
   */
  bring?(key: number, expected: boolean): void;
}

export type CreateReferencePolicy = (capacity: number, keyCount: number) => ReferencePolicy;

/** A policy of ours, driven through the seam as BlockCache drives it. */
export class SeamPolicy implements ReferencePolicy {
  readonly #policy: EvictionPolicy;
  readonly #capacity: number;
  readonly #slotOf: Int32Array;
  readonly #keyOf: Int32Array;
  #used = 0;

  constructor(create: CreateEvictionPolicy, capacity: number, keyCount: number) {
    this.#policy = create(capacity);
    this.#capacity = capacity;
    this.#slotOf = new Int32Array(keyCount).fill(-1);
    this.#keyOf = new Int32Array(capacity);
  }

  has(key: number): boolean {
    return this.#slotOf[key]! >= 0;
  }

  read(key: number): boolean {
    const hit = this.has(key);
    if (!hit) this.bring(key, true);
    this.#policy.touch(this.#slotOf[key]!);
    return hit;
  }

  bring(key: number, expected: boolean): void {
    let slot = this.#used;
    if (slot < this.#capacity) {
      this.#used += 1;
    } else {
      slot = this.#policy.evict();
      this.#slotOf[this.#keyOf[slot]!] = -1;
    }
    this.#slotOf[key] = slot;
    this.#keyOf[slot] = key;
    this.#policy.admit(slot, hashPair(1, key), expected);
  }
}

export class Lru implements ReferencePolicy {
  readonly #capacity: number;
  readonly #queue: SlotQueue;
  readonly #held: Uint8Array;

  constructor(capacity: number, keyCount: number) {
    this.#capacity = capacity;
    this.#queue = new SlotQueue(new SlotLinks(keyCount));
    this.#held = new Uint8Array(keyCount);
  }

  has(key: number): boolean {
    return this.#held[key] === 1;
  }

  read(key: number): boolean {
    const hit = this.has(key);
    if (hit) this.#queue.remove(key);
    else if (this.#queue.size === this.#capacity) this.#held[this.#queue.shift()] = 0;
    this.#queue.push(key);
    this.#held[key] = 1;
    return hit;
  }
}

/** A bit for each read since the hand passed; the hand goes from old to new and moves nothing. */
export class Sieve implements ReferencePolicy {
  readonly #capacity: number;
  readonly #links: SlotLinks;
  readonly #queue: SlotQueue;
  readonly #held: Uint8Array;
  readonly #visited: Uint8Array;
  #hand = -1;

  constructor(capacity: number, keyCount: number) {
    this.#capacity = capacity;
    this.#links = new SlotLinks(keyCount);
    this.#queue = new SlotQueue(this.#links);
    this.#held = new Uint8Array(keyCount);
    this.#visited = new Uint8Array(keyCount);
  }

  has(key: number): boolean {
    return this.#held[key] === 1;
  }

  read(key: number): boolean {
    if (this.has(key)) {
      this.#visited[key] = 1;
      return true;
    }
    if (this.#queue.size === this.#capacity) this.#evict();
    this.#queue.push(key);
    this.#held[key] = 1;
    this.#visited[key] = 0;
    return false;
  }

  #evict(): void {
    let at = this.#hand < 0 ? this.#queue.oldest : this.#hand;
    while (this.#visited[at] === 1) {
      this.#visited[at] = 0;
      const later = this.#links.next[at]!;
      at = later < 0 ? this.#queue.oldest : later;
    }
    this.#hand = this.#links.next[at]!;
    this.#queue.remove(at);
    this.#held[at] = 0;
  }
}

const RECENT = 1;
const FREQUENT = 2;
const RECENT_GHOST = 3;
const FREQUENT_GHOST = 4;

/** What comes back after it left the first queue is worth keeping. */
export class TwoQueue implements ReferencePolicy {
  readonly #capacity: number;
  readonly #recentMax: number;
  readonly #ghostMax: number;
  readonly #recent: SlotQueue;
  readonly #frequent: SlotQueue;
  readonly #ghost: SlotQueue;
  readonly #place: Uint8Array;

  constructor(capacity: number, keyCount: number) {
    const links = new SlotLinks(keyCount);
    this.#capacity = capacity;
    // The shares that the paper recommends.
    this.#recentMax = Math.max(1, Math.floor(capacity / 4));
    this.#ghostMax = Math.max(1, Math.floor(capacity / 2));
    this.#recent = new SlotQueue(links);
    this.#frequent = new SlotQueue(links);
    this.#ghost = new SlotQueue(links);
    this.#place = new Uint8Array(keyCount);
  }

  has(key: number): boolean {
    const place = this.#place[key];
    return place === RECENT || place === FREQUENT;
  }

  read(key: number): boolean {
    const place = this.#place[key]!;
    if (place === RECENT) return true;
    if (place === FREQUENT) {
      this.#frequent.remove(key);
      this.#frequent.push(key);
      return true;
    }
    if (place === RECENT_GHOST) this.#ghost.remove(key);
    if (this.#recent.size + this.#frequent.size === this.#capacity) this.#evict();
    this.#place[key] = place === RECENT_GHOST ? FREQUENT : RECENT;
    (place === RECENT_GHOST ? this.#frequent : this.#recent).push(key);
    return false;
  }

  #evict(): void {
    if (this.#recent.size < this.#recentMax && this.#frequent.size > 0) {
      this.#place[this.#frequent.shift()] = 0;
      return;
    }
    const gone = this.#recent.shift();
    this.#place[gone] = RECENT_GHOST;
    this.#ghost.push(gone);
    if (this.#ghost.size > this.#ghostMax) this.#place[this.#ghost.shift()] = 0;
  }
}

/** Two LRU lists with a ghost each; a hit in a ghost moves room towards its list. */
export class Arc implements ReferencePolicy {
  readonly #capacity: number;
  readonly #queues: readonly SlotQueue[];
  readonly #place: Uint8Array;
  #recentTarget = 0;

  constructor(capacity: number, keyCount: number) {
    const links = new SlotLinks(keyCount);
    this.#capacity = capacity;
    this.#queues = Array.from({ length: 5 }, () => new SlotQueue(links));
    this.#place = new Uint8Array(keyCount);
  }

  has(key: number): boolean {
    const place = this.#place[key];
    return place === RECENT || place === FREQUENT;
  }

  read(key: number): boolean {
    const place = this.#place[key]!;
    if (place === RECENT || place === FREQUENT) {
      this.#move(key, FREQUENT);
      return true;
    }
    const size = (which: number): number => this.#queues[which]!.size;
    if (place === RECENT_GHOST || place === FREQUENT_GHOST) {
      const other = place === RECENT_GHOST ? FREQUENT_GHOST : RECENT_GHOST;
      const step = Math.max(1, size(other) / size(place));
      const target = this.#recentTarget + (place === RECENT_GHOST ? step : -step);
      this.#recentTarget = Math.min(this.#capacity, Math.max(0, target));
      this.#replace(place);
      this.#move(key, FREQUENT);
      return false;
    }
    if (size(RECENT) + size(RECENT_GHOST) === this.#capacity) {
      if (size(RECENT) < this.#capacity) {
        this.#drop(RECENT_GHOST);
        this.#replace(place);
      } else {
        this.#drop(RECENT);
      }
    } else if (size(RECENT) + size(FREQUENT) >= this.#capacity) {
      const all = size(RECENT) + size(FREQUENT) + size(RECENT_GHOST) + size(FREQUENT_GHOST);
      if (all === this.#capacity * 2) this.#drop(FREQUENT_GHOST);
      this.#replace(place);
    }
    this.#move(key, RECENT);
    return false;
  }

  #replace(place: number): void {
    const recent = this.#queues[RECENT]!;
    const over = recent.size > this.#recentTarget;
    const even = place === FREQUENT_GHOST && recent.size === Math.floor(this.#recentTarget);
    const from = recent.size > 0 && (over || even) ? RECENT : FREQUENT;
    this.#move(this.#queues[from]!.oldest, from + 2);
  }

  #drop(which: number): void {
    this.#place[this.#queues[which]!.shift()] = 0;
  }

  #move(key: number, to: number): void {
    const from = this.#place[key]!;
    if (from !== 0) this.#queues[from]!.remove(key);
    this.#place[key] = to;
    this.#queues[to]!.push(key);
  }
}

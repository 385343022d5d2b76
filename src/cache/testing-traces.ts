// Seeded read traces, and the share of their reads that a policy answers. Only tests and benchmarks
// use this.
//
// A trace is a list of steps. Reads that count are those of the reader whose hit ratio is measured;
// a scan beside it reads too, or has blocks fetched ahead and then reads them, and does not count.

import { createSeededRng, type Rng } from '../base/rng.ts';
import type { ReferencePolicy } from './reference-policies.ts';

export interface Trace {
  readonly name: string;
  readonly keyCount: number;
  readonly keys: Int32Array;
  /** One of COUNTED, BESIDE, AHEAD for each key. */
  readonly kinds: Uint8Array;
  /** Hits count from this step on: before, the cache is warmed. */
  readonly countedFrom: number;
}

/** A read that counts. */
export const COUNTED = 0;
/** A read of someone else. */
export const BESIDE = 1;
/** A block that read-ahead brings: kept if it is not held, but nobody has read it. */
export const AHEAD = 2;

/**
 * Share of the counted reads, from `countedFrom` on, that found their key. A read that does not
 * brings all `frameBlocks` of its frame, as one fetch from the store does.
 */
export function hitRatio(trace: Trace, policy: ReferencePolicy, frameBlocks = 1): number {
  const { keys, kinds, countedFrom } = trace;
  const bring = (key: number, expected: boolean): void => {
    if (policy.has(key)) return;
    if (policy.bring === undefined) policy.read(key);
    else policy.bring(key, expected);
  };
  let hits = 0;
  let reads = 0;
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at]!;
    const kind = kinds[at]!;
    if (kind === AHEAD) {
      bring(key, true);
      continue;
    }
    const hit = policy.read(key);
    if (!hit && frameBlocks > 1) {
      const first = key - (key % frameBlocks);
      const end = Math.min(trace.keyCount, first + frameBlocks);
      for (let along = first; along < end; along++) bring(along, false);
    }
    if (kind !== COUNTED || at < countedFrom) continue;
    reads += 1;
    if (hit) hits += 1;
  }
  return hits / reads;
}

/**
 * Belady's MIN on the counted reads alone: keeps what is read again soonest, and keeps nothing that
 * is read later than all it has. No policy does better, whatever is read beside.
 */
export function beladyRatio(trace: Trace, capacity: number): number {
  const at = indexesOf(trace);
  const nextOf = nextReads(trace, at);
  const held = new Uint8Array(trace.keyCount);
  const ends = new MaxHeap(at.length);
  let heldCount = 0;
  let hits = 0;
  let reads = 0;
  for (let i = 0; i < at.length; i++) {
    const key = trace.keys[at[i]!]!;
    const hit = held[key] === 1;
    if (at[i]! >= trace.countedFrom) {
      reads += 1;
      if (hit) hits += 1;
    }
    if (hit) heldCount -= 1;
    held[key] = 0;
    const next = nextOf[i]!;
    if (next < 0) continue;
    if (heldCount === capacity) {
      if (ends.max <= next) continue;
      held[trace.keys[at[ends.pop()]!]!] = 0;
      heldCount -= 1;
    }
    // Entries of reads that have happened stay in the heap, below all others.
    ends.push(next);
    held[key] = 1;
    heldCount += 1;
  }
  return hits / reads;
}

function indexesOf({ keys, kinds }: Trace): Int32Array {
  const out = new Int32Array(keys.length);
  let count = 0;
  for (let at = 0; at < keys.length; at++) if (kinds[at] === COUNTED) out[count++] = at;
  return out.subarray(0, count);
}

/** For each counted read the index of the next of the same key, or -1. */
function nextReads({ keys, keyCount }: Trace, at: Int32Array): Int32Array {
  const next = new Int32Array(at.length);
  const seen = new Int32Array(keyCount).fill(-1);
  for (let i = at.length - 1; i >= 0; i--) {
    const key = keys[at[i]!]!;
    next[i] = seen[key]!;
    seen[key] = i;
  }
  return next;
}

class MaxHeap {
  readonly #items: Int32Array;
  #size = 0;

  constructor(capacity: number) {
    this.#items = new Int32Array(capacity);
  }

  get max(): number {
    return this.#size === 0 ? -1 : this.#items[0]!;
  }

  push(item: number): void {
    const items = this.#items;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! >= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number {
    const items = this.#items;
    const top = items[0]!;
    const last = items[--this.#size]!;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && items[child + 1]! > items[child]!) child += 1;
      if (items[child]! <= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

class TraceBuilder {
  readonly #keys: Int32Array;
  readonly #kinds: Uint8Array;
  #length = 0;
  #countedFrom = 0;

  constructor(stepsMax: number) {
    this.#keys = new Int32Array(stepsMax);
    this.#kinds = new Uint8Array(stepsMax);
  }

  add(key: number, kind: number): void {
    this.#keys[this.#length] = key;
    this.#kinds[this.#length++] = kind;
  }

  countFromHere(): void {
    this.#countedFrom = this.#length;
  }

  finish(name: string, keyCount: number): Trace {
    return {
      name,
      keyCount,
      keys: this.#keys.subarray(0, this.#length),
      kinds: this.#kinds.subarray(0, this.#length),
      countedFrom: this.#countedFrom,
    };
  }
}

/** Prime, so that it divides no number of blocks that we use. */
const SCATTER = 1_299_709;

/** Draws blocks by a Zipf distribution; neighbouring blocks are strangers. */
export function createZipf(rng: Rng, blocks: number, exponent: number): () => number {
  const cumulative = new Float64Array(blocks);
  let sum = 0;
  for (let rank = 0; rank < blocks; rank++) {
    sum += (rank + 1) ** -exponent;
    cumulative[rank] = sum;
  }
  return () => {
    const wanted = rng.float() * sum;
    let low = 0;
    let high = blocks - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return (low * SCATTER) % blocks;
  };
}

export interface ZipfTraceOptions {
  readonly seed: number;
  readonly blocks: number;
  readonly exponent: number;
  readonly warmReads: number;
  readonly reads: number;
  /**
   * While reads count, someone reads all blocks in order, once, evenly spread: `plain` through the
   * cache, `ahead` in windows that read-ahead fetches before they are read.
   */
  readonly scan?: 'plain' | 'ahead';
  /** The hot blocks become others after so many reads. */
  readonly shiftEvery?: number;
}

/** Blocks in the largest window of read-ahead: 4 MiB. */
const AHEAD_BLOCKS = 1024;

export function zipfTrace(name: string, options: ZipfTraceOptions): Trace {
  const { seed, blocks, warmReads, reads, scan, shiftEvery = Infinity } = options;
  const next = createZipf(createSeededRng(seed), blocks, options.exponent);
  const perRead = blocks / reads;
  const out = new TraceBuilder(warmReads + reads + (scan === undefined ? 0 : blocks * 2 + 2048));
  let scanned = 0;
  for (let count = 0; count < warmReads + reads; count++) {
    if (count === warmReads) out.countFromHere();
    const shift = Math.floor(count / shiftEvery) * Math.floor(blocks * 0.37);
    out.add((next() + shift) % blocks, COUNTED);
    if (scan === undefined || count < warmReads) continue;
    for (const due = (count - warmReads + 1) * perRead; scanned < due && scanned < blocks;) {
      if (scan === 'ahead' && scanned % AHEAD_BLOCKS === 0) {
        const end = Math.min(blocks, scanned + AHEAD_BLOCKS);
        for (let key = scanned; key < end; key++) out.add(key, AHEAD);
      }
      out.add(scanned++, BESIDE);
    }
  }
  return out.finish(name, blocks);
}

/** Over and over the same blocks, a few more than fit. */
export function loopTrace(name: string, blocks: number, rounds: number): Trace {
  const out = new TraceBuilder(blocks * rounds);
  for (let round = 0; round < rounds; round++) {
    if (round === 1) out.countFromHere();
    for (let key = 0; key < blocks; key++) out.add(key, COUNTED);
  }
  return out.finish(name, blocks);
}

/**
 * What a busy volume sees: 60 % zipf, 25 % what was read a short while ago, 15 % runs of 64 blocks
 * in order.
 */
export function mixedTrace(name: string, seed: number, blocks: number, reads: number): Trace {
  const rng = createSeededRng(seed);
  const zipf = createZipf(rng, blocks, 0.99);
  const recent = new Int32Array(Math.floor(blocks / 20));
  const out = new TraceBuilder(reads + 64);
  let added = 0;
  const add = (key: number): void => {
    if (added === Math.floor(reads / 2)) out.countFromHere();
    recent[added++ % recent.length] = key;
    out.add(key, COUNTED);
  };
  while (added < reads) {
    // A run is 64 reads, so it is begun 64 times less often.
    const kind = rng.float() * (60 + 25 + 15 / 64);
    if (kind < 60) {
      add(zipf());
    } else if (kind < 85) {
      add(recent[Math.floor(rng.float() * Math.min(added, recent.length))] ?? 0);
    } else {
      const first = Math.floor(rng.float() * (blocks - 64));
      for (let key = first; key < first + 64; key++) add(key);
    }
  }
  return out.finish(name, blocks);
}

// What one thing (512 bytes of a volume, or a volume's size) was, version after version, and when
// each began.
//
// A version is written by an operation that took effect at some moment t of (start, end]: `start`
// is when it was called, `end` when it returned, Infinity if it never did. Versions of one thing
// follow one another: who writes it holds a lock on it. A recovered state is what was there at some
// moment T, the cut:
//
//   version v is found  ⇒  t(v) < T ≤ t(v+1)  ⇒  start(v) < T ≤ end(v+1)
//
// All things were recovered at one and the same T: the intervals of all of them must have a moment
// in common.

/** Who wrote a version. */
export interface Operation {
  readonly id: number;
  readonly start: number;
  end: number;
  /** Durable when it returned, at this moment: `end` is set back to just after `start` then. */
  returned?: number;
}

export interface Version {
  /** A hash of the content, or the size: equal content, equal key. */
  readonly key: number;
  readonly by: Operation;
}

/** Moments (from, to]. */
export interface Cut {
  from: number;
  to: number;
}

export type History = readonly Version[] | undefined;

/** What a found key says about the cut. */
export interface Match {
  /** Index of the version, −1 for the base; undefined when several versions have this key. */
  readonly index: number | undefined;
  readonly cuts: readonly Cut[];
}

/** All versions that `found` can be; no cut when it can be none. */
export function matchKey(
  base: number,
  history: History,
  found: number,
  endOf: (operation: Operation) => number,
): Match {
  const versions = history ?? [];
  const cuts: Cut[] = [];
  let index: number | undefined;
  for (let at = -1; at < versions.length; at++) {
    const key = at < 0 ? base : versions[at]!.key;
    if (key !== found) continue;
    index = at;
    const from = at < 0 ? 0 : versions[at]!.by.start;
    const next = versions[at + 1];
    cuts.push({ from, to: next === undefined ? Infinity : endOf(next.by) });
  }
  return { index: cuts.length === 1 ? index : undefined, cuts };
}

/** 32 bits of FNV-1a over words. `bytes` are a multiple of 4, aligned in their buffer. */
export function keyOf(words: Int32Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193);
  return hash;
}

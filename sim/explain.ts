// Whether a state that was found is one that a reign's history can have left.
//
// Every sector, and every volume's size, narrows the cut (history.ts): in the end there must be a
// moment that all of them allow. An operation that the engine promises to be atomic must lie on one
// side of it.

import { assert } from '../src/base/assert.ts';
import { type Cut, matchKey, type Operation } from './history.ts';
import type { Found, Reign } from './reign.ts';
import { SECTOR_BYTES, type VolumeModel, zeroContent } from './volume-model.ts';

/** When an operation had taken effect at the latest. */
type EndOf = (operation: Operation) => number;

/** A successor must find what was durable when it returned. */
export const asDurable: EndOf = (operation) => operation.end;
/** Whoever looks beside it must find what had returned by then. */
export const asReturned: EndOf = (operation) => operation.returned ?? operation.end;

/** No cut explains what was found. */
class Unexplained extends Error {
  override readonly name = 'Unexplained';
}

/**
 * Narrows `cut` to the moments at which the reign's state can have been `found`. Says why there is
 * none; undefined when there is one. `context` says what was found.
 */
export function explain(
  reign: Reign,
  found: Found,
  cut: Cut,
  context: string,
  endOf: EndOf,
): string | undefined {
  try {
    new Explanation(endOf).check(reign, found, cut, context);
    return undefined;
  } catch (error) {
    if (error instanceof Unexplained) return error.message;
    throw error;
  }
}

class Explanation {
  readonly #endOf: EndOf;

  constructor(endOf: EndOf) {
    this.#endOf = endOf;
  }

  check(reign: Reign, found: Found, cut: Cut, context: string): void {
    const states = this.#narrowBySizes(reign, found, cut, context);
    for (const state of states) this.#narrowBySectors(state, cut, context);
    for (const state of states) this.#checkAmbiguous(state, cut, context);
    this.#checkAtomic(reign, states, cut, context);
  }

  #fail(message: string): never {
    throw new Unexplained(message);
  }

  #narrowBySizes(reign: Reign, found: Found, cut: Cut, context: string): FoundVolume[] {
    for (const name of found.keys()) {
      if (!reign.volumes.has(name)) this.#fail(`${context}: an unknown volume ${name}`);
    }
    const states: FoundVolume[] = [];
    for (const volume of reign.volumes.values()) {
      const content = found.get(volume.name);
      const size = content?.bytes.length ?? -1;
      const { cuts } = matchKey(volume.baseSize, volume.sizes, size, this.#endOf);
      const [only] = cuts;
      if (only === undefined) {
        this.#fail(`${context}: ${volume.name} has ${size} bytes, a size it never had`);
      } else if (cuts.length === 1) {
        this.#narrow(cut, only, `${context}: the size of ${volume.name}`);
      }
      // A volume that is not there holds what it held before its creation: nothing.
      // What lies past the size that was found was zero, too.
      const { keys } = zeroContent(Math.max(volume.bytes.length, size));
      if (content !== undefined) keys.set(content.keys);
      states.push({ volume, keys, indexes: [], ambiguous: [] });
    }
    return states;
  }

  #narrowBySectors(state: FoundVolume, cut: Cut, context: string): void {
    const { volume, keys } = state;
    for (let sector = 0; sector < keys.length; sector++) {
      const base = volume.baseKeys[sector] ?? 0;
      const history = volume.historyOf(sector);
      if (history === undefined && base === keys[sector]) continue;
      const match = matchKey(base, history, keys[sector]!, this.#endOf);
      const where = `${context}: ${volume.name} at byte ${sector * SECTOR_BYTES}`;
      const [first] = match.cuts;
      if (first === undefined) {
        const last = history?.at(-1);
        this.#fail(
          `${where} has bytes that it never had (${history?.length ?? 0} versions, the last by ` +
            `operation ${last?.by.id ?? 'none'})`,
        );
      } else if (match.index === undefined) {
        state.ambiguous.push(sector);
      } else {
        state.indexes[sector] = match.index;
        this.#narrow(cut, first, where);
      }
    }
  }

  /** Content that came more than once: some version of it must fit the cut. */
  #checkAmbiguous({ volume, keys, ambiguous }: FoundVolume, cut: Cut, context: string): void {
    for (const sector of ambiguous) {
      const base = volume.baseKeys[sector] ?? 0;
      const { cuts } = matchKey(base, volume.historyOf(sector), keys[sector]!, this.#endOf);
      const fits = cuts.some(({ from, to }) => Math.max(from, cut.from) < Math.min(to, cut.to));
      const where = `${context}: ${volume.name} at byte ${sector * SECTOR_BYTES}`;
      if (!fits) this.#fail(`${where} has what it held at other times than the rest`);
    }
  }

  #narrow(cut: Cut, by: Cut, where: string): void {
    const acknowledged = by.to <= cut.from;
    const before = `${cut.from}..${cut.to}`;
    cut.from = Math.max(cut.from, by.from);
    cut.to = Math.min(cut.to, by.to);
    if (cut.from < cut.to) return;
    const why = acknowledged
      ? 'is too old: acknowledged or followed by what is there'
      : 'is too new';
    this.#fail(
      `${where} ${why}; no prefix: the cut was in ${before}, this allows ${by.from}..${by.to}`,
    );
  }

  #checkAtomic(reign: Reign, states: readonly FoundVolume[], cut: Cut, context: string): void {
    for (const { by, volume, fromSector, toSector } of reign.atomicWrites) {
      // Others are wholly before or wholly after the cut.
      if (by.start > cut.from || this.#endOf(by) < cut.to) continue;
      const state = states.find((each) => each.volume === volume);
      assert(state !== undefined, 'every volume was looked at');
      let isThere = 0;
      let isNot = 0;
      for (let sector = fromSector; sector < toSector; sector++) {
        const index = state.indexes[sector];
        if (index === undefined) continue;
        const own = volume.historyOf(sector)!.findIndex((version) => version.by === by);
        if (index >= own) isThere += 1;
        else isNot += 1;
      }
      if (isThere === 0 || isNot === 0) continue;
      this.#fail(`${context}: operation ${by.id} on ${volume.name} is half there`);
    }
  }
}

interface FoundVolume {
  readonly volume: VolumeModel;
  readonly keys: Int32Array;
  /** Version found, by sector, where that is certain. */
  readonly indexes: number[];
  readonly ambiguous: number[];
}

// Knows what must hold (ARCHITECTURE.md: prefix, acknowledged means there, one writer) and says
// when it does not.
//
// A reign is one writer's time: it begins with the state that its opening found, and has a history
// of what its clients did. When a writer of a higher epoch opens, the state that it finds must be
// what some cut (history.ts) of its predecessor's history leaves:
//
//   1. prefix        every sector, and every volume's size, allows a common cut; an operation that
//                    the engine promises to be atomic is there whole or not at all
//   2. acknowledged  the cut is not before the last barrier that the predecessor acknowledged
//   3. one writer    from then on the predecessor acknowledges nothing that is behind the cut
//
// Openings can complete in another order than that of their epochs. A writer that completes after
// one of a higher epoch was deposed before it began: it has the state that its successor found, and
// can acknowledge no change.

import { assert } from '../src/base/assert.ts';
import type { Cut, Operation } from './history.ts';
import { matchKey } from './history.ts';
import { SECTOR_BYTES, type VolumeContent, VolumeModel, zeroContent } from './volume-model.ts';
import type { World } from './world.ts';

/** What an opening found: volumes by name. Owned by the oracle from then on. */
export type Found = ReadonlyMap<string, VolumeContent>;

interface AtomicWrite {
  readonly by: Operation;
  readonly volume: VolumeModel;
  readonly fromSector: number;
  readonly toSector: number;
}

export class Reign {
  readonly epoch: number;
  readonly who: string;
  readonly volumes = new Map<string, VolumeModel>();
  readonly atomicWrites: AtomicWrite[] = [];
  /** Everything that ended before this moment was acknowledged as durable. */
  acknowledged = 0;
  /** Something that ended at this moment is not in the successor's state. */
  lostFrom = Infinity;
  /** When a writer of a higher epoch was seen to have opened. */
  deposedAt = Infinity;
  readonly base: Found;

  constructor(epoch: number, who: string, base: Found) {
    this.epoch = epoch;
    this.who = who;
    this.base = base;
    for (const [name, { bytes, keys }] of base) {
      this.volumes.set(name, new VolumeModel(name, { bytes: bytes.slice(), keys }, bytes.length));
    }
  }
}

export class Oracle {
  readonly #world: World;
  /** By epoch, ascending. */
  readonly #reigns: Reign[] = [];
  #operations = 0;
  readonly counters = { openings: 0, deposedAtBirth: 0, operations: 0, barriers: 0 };

  constructor(world: World) {
    this.#world = world;
  }

  /** A writer has opened, and a look at the store at this very moment shows `found`. */
  opened(epoch: number, who: string, found: Found): Reign {
    this.counters.openings += 1;
    const successor = this.#reigns.find((reign) => reign.epoch > epoch);
    if (this.#reigns.some((reign) => reign.epoch === epoch)) {
      this.#world.fail(`two writers have epoch ${epoch}`);
    }
    const before = this.#reigns.findLast((reign) => reign.epoch < epoch);
    const reign = new Reign(epoch, who, successor?.base ?? found);
    if (successor === undefined) {
      if (before !== undefined) this.#checkSuccession(before, found, who);
      else if (found.size > 0) this.#world.fail('a new store is not empty');
      for (const older of this.#reigns) {
        older.deposedAt = Math.min(older.deposedAt, this.#world.tick());
      }
    } else {
      reign.deposedAt = this.#world.tick();
      this.counters.deposedAtBirth += 1;
    }
    this.#reigns.push(reign);
    this.#reigns.sort((a, b) => a.epoch - b.epoch);
    return reign;
  }

  begin(): Operation {
    this.counters.operations += 1;
    return { id: ++this.#operations, start: this.#world.tick(), end: Infinity };
  }

  /** The operation has returned: it has taken effect. */
  end(reign: Reign, operation: Operation): void {
    operation.end = this.#world.tick();
    if (reign.deposedAt < Infinity) reign.lostFrom = Math.min(reign.lostFrom, operation.end);
  }

  /**
   * As `end`, for what is durable when it returns: it counts from `settled` on, a moment after its
   * begin.
   */
  endDurable(reign: Reign, operation: Operation, settled: number): void {
    operation.end = settled;
    if (operation.start > reign.deposedAt) {
      this.#world.fail(`${reign.who} made a change durable after it had been deposed`);
    }
    this.acknowledge(reign, settled);
  }

  /** A barrier that was called at `called` has been acknowledged. */
  acknowledge(reign: Reign, called: number): void {
    this.counters.barriers += 1;
    reign.acknowledged = Math.max(reign.acknowledged, called);
    if (called > reign.lostFrom) {
      this.#world.fail(
        `${reign.who} (epoch ${reign.epoch}) acknowledged a barrier, though a writer ` +
          'of a higher epoch has opened without what it covers',
      );
    }
  }

  #checkSuccession(reign: Reign, found: Found, who: string): void {
    const cut: Cut = { from: reign.acknowledged, to: Infinity };
    const context = `what ${who} found after ${reign.who} (epoch ${reign.epoch})`;
    const states = this.#narrowBySizes(reign, found, cut, context);
    for (const state of states) this.#narrowBySectors(state, cut, context);
    for (const state of states) this.#checkAmbiguous(state, cut, context);
    this.#checkAtomic(reign, states, cut, context);
    reign.lostFrom = Math.min(reign.lostFrom, cut.to);
  }

  #narrowBySizes(reign: Reign, found: Found, cut: Cut, context: string): FoundVolume[] {
    for (const name of found.keys()) {
      if (!reign.volumes.has(name)) this.#world.fail(`${context}: an unknown volume ${name}`);
    }
    const states: FoundVolume[] = [];
    for (const volume of reign.volumes.values()) {
      const content = found.get(volume.name);
      const size = content?.bytes.length ?? -1;
      const { cuts } = matchKey(volume.baseSize, volume.sizes, size);
      const [only] = cuts;
      if (only === undefined) {
        this.#world.fail(`${context}: ${volume.name} has ${size} bytes, a size it never had`);
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
      const match = matchKey(base, history, keys[sector]!);
      const where = `${context}: ${volume.name} at byte ${sector * SECTOR_BYTES}`;
      const [first] = match.cuts;
      if (first === undefined) {
        const last = history?.at(-1);
        this.#world.fail(
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
      const { cuts } = matchKey(base, volume.historyOf(sector), keys[sector]!);
      const fits = cuts.some(({ from, to }) => Math.max(from, cut.from) < Math.min(to, cut.to));
      const where = `${context}: ${volume.name} at byte ${sector * SECTOR_BYTES}`;
      if (!fits) this.#world.fail(`${where} has what it held at other times than the rest`);
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
    this.#world.fail(
      `${where} ${why}; no prefix: the cut was in ${before}, this allows ${by.from}..${by.to}`,
    );
  }

  #checkAtomic(reign: Reign, states: readonly FoundVolume[], cut: Cut, context: string): void {
    for (const { by, volume, fromSector, toSector } of reign.atomicWrites) {
      // Others are wholly before or wholly after the cut.
      if (by.start > cut.from || by.end < cut.to) continue;
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
      this.#world.fail(`${context}: operation ${by.id} on ${volume.name} is half there`);
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

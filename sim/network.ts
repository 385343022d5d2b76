// What becomes of a request on its way to the store and back, and when nothing gets through at all.
//
//   answered    lands, and the reply arrives
//   refused     never lands; the caller gets `unavailable`
//   throttled   the same, and is told how long to stay away
//   hung        lands or not; no reply ever
//   lost        lands; the caller gets `unavailable`
//   late        the caller gets `unavailable`, and the request lands long after
//   stalled     lands long after, then the reply arrives, if the caller still waits
//   slow        lands, and the reply takes long
//   twice       lands, the reply arrives, and the request lands once more, long after
//   truncated   lands, and the reply holds the beginning of the bytes
//
// In an outage all requests, or nearly all, are refused, throttled or hung: each outage has its
// way.

import type { Dice } from './dice.ts';
import type { World } from './world.ts';

export interface FaultProfile {
  /** Of each way that a request may take. */
  readonly latencyMsMax: number;
  /** Of a reply that is slow, and of a landing that is late. */
  readonly stallMsMax: number;
  /** What a throttled request is told, at most. */
  readonly retryAfterMsMax: number;
  readonly rates: FaultRates;
  /** An outage begins about this often; 0 for never. */
  readonly outageEveryMs: number;
  readonly outageMsMax: number;
  /**
   * A listing shows what was there up to so long ago. Only 0 keeps the promises of an ObjectStore.
   */
  readonly staleListMsMax: number;
}

/** Of all requests that could meet it; `lost` and `late` befall changes, `truncated` gets. */
export type FaultRates = Readonly<Record<Exclude<Fate, 'answered'>, number>>;

export type Fate =
  | 'answered'
  | 'refused'
  | 'throttled'
  | 'hung'
  | 'lost'
  | 'late'
  | 'stalled'
  | 'slow'
  | 'twice'
  | 'truncated';

export type RequestSort = 'change' | 'get' | 'look';

const FATES: Readonly<Record<RequestSort, readonly Exclude<Fate, 'answered'>[]>> = {
  change: ['refused', 'stalled', 'throttled', 'hung', 'slow', 'lost', 'late', 'twice'],
  get: ['refused', 'stalled', 'throttled', 'hung', 'slow', 'truncated'],
  look: ['refused', 'stalled', 'throttled', 'hung', 'slow'],
};

interface Outage {
  readonly fromMs: number;
  readonly toMs: number;
  readonly fate: Fate;
  /** Of the requests that meet it. */
  readonly share: number;
}

export class Network {
  /** False at the end of a run: everything is answered. */
  faulty = true;
  readonly profile: FaultProfile;
  readonly #world: World;
  readonly #dice: Dice;
  #outage: Outage;

  constructor(world: World, dice: Dice, profile: FaultProfile) {
    this.profile = profile;
    this.#world = world;
    this.#dice = dice;
    this.#outage = this.#nextOutage();
  }

  /** Drawn once per request. */
  fateOf(sort: RequestSort): Fate {
    if (!this.faulty) return 'answered';
    const outage = this.#current();
    if (outage !== undefined && this.#dice.chance(outage.share)) return outage.fate;
    let draw = this.#dice.rng.float();
    for (const fate of FATES[sort]) {
      draw -= this.profile.rates[fate];
      if (draw < 0) return fate;
    }
    return 'answered';
  }

  latencyMs(): number {
    const { latencyMsMax } = this.profile;
    // There and back within any deadline.
    return this.#dice.skewed(1, this.faulty ? latencyMsMax : Math.min(3, latencyMsMax / 4));
  }

  stallMs(): number {
    return this.#dice.skewed(1, this.profile.stallMsMax);
  }

  retryAfterMs(): number {
    return this.#dice.skewed(0, this.profile.retryAfterMsMax);
  }

  #current(): Outage | undefined {
    const { nowMs } = this.#world;
    if (nowMs >= this.#outage.toMs) this.#outage = this.#nextOutage();
    return nowMs >= this.#outage.fromMs && nowMs < this.#outage.toMs ? this.#outage : undefined;
  }

  #nextOutage(): Outage {
    const { outageEveryMs, outageMsMax } = this.profile;
    if (outageEveryMs === 0) {
      return { fromMs: Infinity, toMs: Infinity, fate: 'refused', share: 0 };
    }
    const fromMs = this.#world.nowMs + this.#dice.int(1, outageEveryMs * 2);
    const toMs = fromMs + this.#dice.skewed(1, outageMsMax);
    const fate = this.#dice.pick<Fate>(['refused', 'refused', 'throttled', 'hung']);
    return { fromMs, toMs, fate, share: this.#dice.pick([0.9, 1]) };
  }
}

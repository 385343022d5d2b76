// Latencies of one window, as counts in buckets that grow by 5 %: percentiles without keeping every
// value.

const GROWTH = Math.log(1.05);
const FLOOR_MS = 0.001;
/** Up to FLOOR_MS × 1.05^500, some eleven hours. */
const BUCKETS = 500;

export class Latencies {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, FLOOR_MS) / FLOOR_MS) / GROWTH);
    this.#counts[Math.min(bucket, BUCKETS - 1)]! += 1;
    this.#count += 1;
  }

  /** Milliseconds that `share` of all did not exceed, to 5 %; 0 when there were none. */
  percentile(share: number): number {
    let rest = Math.ceil(this.#count * share);
    if (rest === 0) return 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      rest -= this.#counts[bucket]!;
      if (rest <= 0) return FLOOR_MS * Math.exp(bucket * GROWTH);
    }
    return Infinity;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }
}

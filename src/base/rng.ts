// Randomness as a component, so that the simulator can own it. The real one is in system.ts.

export interface Rng {
  /**
   * Fresh random bytes, owned by the caller. Fit for keys and salts when the source is the
   * system's.
   */
  bytes(count: number): Uint8Array;
  /** Uniform in [0, 1). For jitter and sampling, never for secrets. */
  float(): number;
}

/**
 * A deterministic generator (xoshiro128**), for tests and simulation. `seed` is any 32-bit integer.
 */
export function createSeededRng(seed: number): Rng {
  const state = new Uint32Array(4);
  let mix = seed >>> 0;
  for (let i = 0; i < 4; i++) {
    // SplitMix32 spreads a small seed over the whole state.
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    state[i] = (z ^ (z >>> 16)) >>> 0;
  }
  function next(): number {
    const s1 = state[1]!;
    const x = Math.imul(s1, 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s1 << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= s1;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= t;
    const s3 = state[3]!;
    state[3] = (s3 << 11) | (s3 >>> 21);
    return result;
  }
  return {
    float: () => next() / 2 ** 32,
    bytes(count) {
      const out = new Uint8Array(count);
      for (let i = 0; i < count; i++) out[i] = next() >>> 24;
      return out;
    },
  };
}

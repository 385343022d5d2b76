// Makes a failing input smaller: cuts out ever smaller parts, then sets bytes to zero, as long as
// it still fails in the same way.

/** Runs of the target, at most. */
const TRIES_MAX = 3000;

export async function shrink(
  input: Uint8Array,
  fails: (smaller: Uint8Array) => Promise<boolean>,
): Promise<Uint8Array> {
  let best = input;
  let tries = 0;
  const attempt = async (smaller: Uint8Array): Promise<boolean> => {
    tries += 1;
    if (tries > TRIES_MAX || !(await fails(smaller.slice()))) return false;
    best = smaller;
    return true;
  };
  for (let part = Math.max(1, best.length >>> 1); part >= 1; part >>>= 1) {
    for (let at = 0; at + part <= best.length;) {
      const cut = new Uint8Array(best.length - part);
      cut.set(best.subarray(0, at));
      cut.set(best.subarray(at + part), at);
      if (!(await attempt(cut))) at += part;
    }
  }
  for (let at = 0; at < best.length; at++) {
    if (best[at] === 0) continue;
    const zeroed = best.slice();
    zeroed[at] = 0;
    await attempt(zeroed);
  }
  return best;
}

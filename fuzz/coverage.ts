// Which parts of src/ were executed: V8's own block coverage, asked for in this thread.
//
// One question takes some 0.5 ms, so it is asked once for a batch of inputs; and V8 names only
// functions that ran since the last one. A function's coverage is kept as one byte for each of its
// characters: V8 leaves out blocks that ran as often as what is around them, so ranges of two
// answers cannot be compared, but bytes can.

import { Session, type Profiler } from 'node:inspector';

const OURS = '/src/';
/** The fuzzer itself runs these. */
const NOT_OURS = /\/src\/base\/(rng|system)\.ts$/;

export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Map<string, Uint8Array>();
  /** Characters of source that ran. */
  characters = 0;

  start(): void {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  stop(): void {
    this.#session.disconnect();
  }

  /** What ran since the last call is forgotten. */
  forget(): void {
    this.#take();
  }

  /** Whether anything ran since the last call that is new. With `keep` it is not new any more. */
  isNew(keep: boolean): boolean {
    let found = 0;
    for (const { url, functions } of this.#take()) {
      if (!url.includes(OURS) || NOT_OURS.test(url)) continue;
      for (const one of functions) found += this.#add(url, one, keep);
    }
    if (keep) this.characters += found;
    return found > 0;
  }

  #add(url: string, { ranges }: Profiler.FunctionCoverage, keep: boolean): number {
    const whole = ranges[0]!;
    if (whole.count === 0) return 0;
    const length = whole.endOffset - whole.startOffset;
    const key = `${url}:${whole.startOffset}:${whole.endOffset}`;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      seen = new Uint8Array(length);
      if (keep) this.#seen.set(key, seen);
    }
    const now = new Uint8Array(length);
    for (const { startOffset, endOffset, count } of ranges) {
      now.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset);
    }
    let found = 0;
    for (let i = 0; i < length; i++) {
      if (now[i]! <= seen[i]!) continue;
      found += 1;
      if (keep) seen[i] = 1;
    }
    return found;
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let result: readonly Profiler.ScriptCoverage[] = [];
    // The session answers within the call.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error !== null) throw error;
      result = answer.result;
    });
    return result;
  }
}

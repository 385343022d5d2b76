// Two checks of memory: what one input takes, and what stays when it is gone.
//
// V8's statistics cost 1.5 µs, so a group of inputs is measured together; only when it took more
// than one input may, each of the group is measured alone. A collection in between hides what was
// taken; over thousands of inputs that does not matter.

import { setImmediate } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';

/** What decoding may take for each byte of input: objects for single bytes, and their garbage. */
const BYTES_PER_BYTE = 256;
const FIXED_BYTES = 1024 * 1024;
/** What may stay behind: compiled code, caches of the runtime. */
const GROWTH_BYTES_MAX = 48 * 1024 * 1024;

export class MemoryGauge {
  readonly #fixedBytes: number;
  readonly #collect: () => void;
  #start = 0;
  #baseline: number | undefined;

  constructor(fixedBytes = FIXED_BYTES) {
    this.#fixedBytes = fixedBytes;
    v8.setFlagsFromString('--expose-gc');
    this.#collect = vm.runInNewContext('gc') as () => void;
  }

  begin(): void {
    this.#start = takenBytes();
  }

  /** Bytes beyond what inputs of so many bytes may take, since `begin`; 0 when all is well. */
  excess(inputBytes: number): number {
    const taken = takenBytes() - this.#start;
    return Math.max(0, taken - this.#fixedBytes - inputBytes * BYTES_PER_BYTE);
  }

  collect(): void {
    this.#collect();
    this.#collect();
  }

  /** After a collection: bytes grown past the limit since the first call. `ownBytes` is known. */
  async growth(ownBytes: number): Promise<number> {
    // node:zlib closes a decompressor that has failed in a later turn.
    await setImmediate();
    // What lies outside of the heap is given back while the next collection begins.
    this.#collect();
    this.#collect();
    const now = takenBytes() - ownBytes;
    this.#baseline ??= now;
    return Math.max(0, now - this.#baseline - GROWTH_BYTES_MAX);
  }
}

function takenBytes(): number {
  const { used_heap_size: heap, external_memory: external } = v8.getHeapStatistics();
  return heap + external;
}

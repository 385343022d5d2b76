// Free lists of buffers by size class (powers of two). Fresh large buffers cost page faults, so
// payloads of large requests and reply slabs are reused. A buffer is given back at most once and by
// its one owner.

import { assert } from '../../base/assert.ts';

/** Smallest class: below it, allocation costs less than keeping lists. */
const CLASS_BYTES_MIN = 4096;

export class BufferPool {
  readonly #freeBytesMax: number;
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;

  /** Keeps at most `freeBytesMax` bytes of free buffers. */
  constructor(freeBytesMax: number) {
    this.#freeBytesMax = freeBytesMax;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** An owned buffer of at least `bytes`, with stale contents. */
  take(bytes: number): Buffer {
    const size = classOf(bytes);
    const buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    return buffer;
  }

  /** Takes back what `take` returned. */
  give(buffer: Buffer): void {
    const size = buffer.length;
    assert(size === classOf(size), 'a pool takes back whole buffers');
    if (this.#freeBytes + size > this.#freeBytesMax) return;
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [buffer]);
    else list.push(buffer);
    this.#freeBytes += size;
  }
}

function classOf(bytes: number): number {
  return bytes <= CLASS_BYTES_MIN ? CLASS_BYTES_MIN : 2 ** Math.ceil(Math.log2(bytes));
}

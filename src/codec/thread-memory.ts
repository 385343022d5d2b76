// Shared memory by number: a thread is sent each SharedArrayBuffer once, and jobs then name it.
//
// A buffer that is sent with every job is a new object in the thread each time, and V8 counts all
// of its bytes as the thread's own: sealing one segment of 8 MiB in eight shares looked like 128
// MiB allocated, and set off a full collection that took as long as the sealing.
//
// The pool's side keeps a ledger of what a thread knows, the thread a mirror of it. Both forget the
// buffer that was not used for longest when a new one does not fit.

import { assert } from '../base/assert.ts';

/** Segments and staging fit with room to spare; a table's batches come and go. */
const BUFFERS_MAX = 32;

/** Bytes `[offset, offset + length)` of a buffer that the thread has been told of. */
export interface SharedView {
  readonly id: number;
  readonly offset: number;
  readonly length: number;
}

/** What the thread must learn before it can look at a view. */
export interface MemoryNews {
  readonly introduced: { readonly id: number; readonly buffer: SharedArrayBuffer }[];
  readonly forgotten: number[];
}

export class MemoryLedger {
  /** In order of use, the longest unused first. */
  readonly #ids = new Map<SharedArrayBuffer, number>();
  #nextId = 1;

  /** Names `bytes`; what the thread does not know yet is added to `news`. */
  describe(bytes: Uint8Array, news: MemoryNews): SharedView {
    const { buffer, byteOffset: offset, length } = bytes;
    assert(buffer instanceof SharedArrayBuffer, 'threads are shown shared memory only');
    let id = this.#ids.get(buffer);
    if (id === undefined) {
      if (this.#ids.size === BUFFERS_MAX) this.#forgetOldest(news);
      id = this.#nextId++;
      news.introduced.push({ id, buffer });
    } else {
      this.#ids.delete(buffer);
    }
    this.#ids.set(buffer, id);
    return { id, offset, length };
  }

  #forgetOldest(news: MemoryNews): void {
    for (const [buffer, id] of this.#ids) {
      this.#ids.delete(buffer);
      news.forgotten.push(id);
      return;
    }
  }
}

export class MemoryMirror {
  readonly #buffers = new Map<number, SharedArrayBuffer>();

  learn({ introduced, forgotten }: MemoryNews): void {
    for (const id of forgotten) this.#buffers.delete(id);
    for (const { id, buffer } of introduced) this.#buffers.set(id, buffer);
  }

  view({ id, offset, length }: SharedView): Uint8Array {
    const buffer = this.#buffers.get(id);
    assert(buffer !== undefined, 'a view is of memory that the thread has been told of');
    return new Uint8Array(buffer, offset, length);
  }
}

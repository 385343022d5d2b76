// Memory for one segment on its way to the store: its plaintext blocks and its sealed frames, both
// shared with the sealing workers. Their number bounds what is unsealed and what is uploading:
// writers wait for a free one.

import { assert } from '../../base/assert.ts';
import type { StorageError } from '../../base/errors.ts';
import { Semaphore } from '../../base/semaphore.ts';
import { allocateShared } from '../../codec/shared.ts';

export interface Arena {
  readonly plain: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Of segments without bytes of their own. */
export const NO_ARENA: Arena = { plain: new Uint8Array(0), sealed: new Uint8Array(0) };

export class ArenaPool {
  readonly count: number;
  readonly #plainBytes: number;
  readonly #sealedBytes: number;
  readonly #permits: Semaphore;
  readonly #free: Arena[] = [];
  #created = 0;

  constructor(count: number, plainBytes: number, sealedBytes: number) {
    this.count = count;
    this.#plainBytes = plainBytes;
    this.#sealedBytes = sealedBytes;
    this.#permits = new Semaphore(count);
  }

  tryTake(): Arena | undefined {
    return this.#permits.tryAcquire() ? this.#take() : undefined;
  }

  async take(): Promise<Arena> {
    await this.#permits.acquire();
    return this.#take();
  }

  give(arena: Arena): void {
    this.#free.push(arena);
    this.#permits.release();
  }

  close(error: StorageError): void {
    this.#permits.close(error);
  }

  #take(): Arena {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    this.#created += 1;
    assert(this.#created <= this.count, 'no more arenas than permits');
    return { plain: allocateShared(this.#plainBytes), sealed: allocateShared(this.#sealedBytes) };
  }
}

// Bounded permits with a first-come queue: the one way in which anything waits for a limit.

import { assert } from './assert.ts';
import { StorageError } from './errors.ts';

interface Waiter {
  readonly count: number;
  readonly grant: () => void;
  readonly refuse: (error: StorageError) => void;
}

/** `permits` units (slots, bytes, …). A request larger than the whole is clamped to it, to pass. */
export class Semaphore {
  readonly capacity: number;
  #free: number;
  #waiters: Waiter[] = [];
  #head = 0;
  #closed: StorageError | undefined;

  constructor(permits: number) {
    assert(permits > 0, 'a semaphore has at least one permit');
    this.capacity = permits;
    this.#free = permits;
  }

  get free(): number {
    return this.#free;
  }

  get waiting(): number {
    return this.#waiters.length - this.#head;
  }

  /** Takes `count` permits now, or returns false. Never overtakes those who wait. */
  tryAcquire(count = 1): boolean {
    assert(count >= 0, 'a count of permits is not negative');
    const wanted = Math.min(count, this.capacity);
    if (this.#closed !== undefined || this.waiting > 0 || wanted > this.#free) return false;
    this.#free -= wanted;
    return true;
  }

  /** Resolves when `count` permits are held; rejects with `aborted`, or what `close` was given. */
  acquire(count = 1, signal?: AbortSignal): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.tryAcquire(count)) return Promise.resolve();
    return new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        count: Math.min(count, this.capacity),
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        refuse: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      const onAbort = (): void => {
        this.#forget(waiter);
        waiter.refuse(new StorageError('aborted', 'gave up waiting for a limit'));
      };
      if (signal?.aborted === true) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  release(count = 1): void {
    assert(count >= 0, 'a count of permits is not negative');
    this.#free += Math.min(count, this.capacity);
    assert(this.#free <= this.capacity, 'permits are returned once');
    this.#drain();
  }

  /** Refuses those who wait and all who come later. */
  close(error: StorageError): void {
    this.#closed = error;
    const waiters = this.#waiters.slice(this.#head);
    this.#waiters = [];
    this.#head = 0;
    for (const waiter of waiters) waiter.refuse(error);
  }

  #forget(waiter: Waiter): void {
    const at = this.#waiters.indexOf(waiter, this.#head);
    if (at >= 0) this.#waiters.splice(at, 1);
    this.#drain();
  }

  #drain(): void {
    while (this.#head < this.#waiters.length) {
      const next = this.#waiters[this.#head]!;
      if (next.count > this.#free) break;
      this.#free -= next.count;
      this.#head += 1;
      next.grant();
    }
    if (this.#head > 32 && this.#head * 2 > this.#waiters.length) {
      this.#waiters = this.#waiters.slice(this.#head);
      this.#head = 0;
    }
  }
}

// Shared memory that stands in for a caller's own memory while a thread works on it. One per
// thread, made when first needed and then kept: a share is about 1 MiB, and only a single larger
// frame (they are under 16 MiB) makes it grow.

import { allocateShared, isShared } from './shared.ts';

/** Room for any share but that of one huge frame. */
const STAGING_BYTES = 2 * 2 ** 20;

export class Staging {
  #source: Uint8Array | undefined;
  #target: Uint8Array | undefined;

  /** `source` itself if threads can see it, else a copy, valid until the next call. */
  sourceOf(source: Uint8Array): Uint8Array {
    if (isShared(source)) return source;
    this.#source = roomFor(this.#source, source.length);
    this.#source.set(source);
    return this.#source.subarray(0, source.length);
  }

  /** `target` itself if threads can see it, else as much room, valid until the next call. */
  targetFor(target: Uint8Array): Uint8Array {
    if (isShared(target)) return target;
    this.#target = roomFor(this.#target, target.length);
    return this.#target.subarray(0, target.length);
  }
}

function roomFor(staging: Uint8Array | undefined, bytes: number): Uint8Array {
  if (staging !== undefined && staging.length >= bytes) return staging;
  return allocateShared(Math.max(bytes, STAGING_BYTES));
}

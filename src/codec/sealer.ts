// Sealing and opening many frames at once: the interface that the engine uses, the work itself as
// plain functions, and the implementation that does it on the caller's thread (tools, tests, the
// simulator).
//
//   seal    source  | plain 0 | plain 1 | …    →  target | sealed 0 | sealed 1 | …
//   unseal  sealed  | sealed 0 | sealed 1 | …  →  target | plain 0 | plain 1 | …
//
// Both sides are packed. Frame i of a job has index `firstIndex + i` in its object.

import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import { FRAME_OVERHEAD_BYTES, sealedFrameBytesMax, sealFrame, unsealFrame } from './frame.ts';
import type { FrameKind } from './frame.ts';
import type { CompressionName, ObjectSeal } from './types.ts';

export interface SealJob {
  readonly seal: ObjectSeal;
  readonly kind: FrameKind;
  readonly firstIndex: number;
  readonly compression: CompressionName;
  /** The plaintexts, packed. Borrowed until the call settles; must not change meanwhile. */
  readonly source: Uint8Array;
  /** They add up to `source.length`. */
  readonly plainLengths: Uint32Array;
  /** At least `sealedBytesMax(plainLengths)` long, apart from `source`. Borrowed likewise. */
  readonly target: Uint8Array;
}

export interface UnsealJob {
  readonly seal: ObjectSeal;
  readonly kind: FrameKind;
  readonly firstIndex: number;
  /** The sealed frames, packed. Borrowed until the call settles; must not change meanwhile. */
  readonly sealed: Uint8Array;
  /** They add up to `sealed.length`. */
  readonly sealedLengths: Uint32Array;
  /** Apart from `sealed`. Borrowed likewise. Its length bounds what the frames may hold. */
  readonly target: Uint8Array;
}

export interface Sealer {
  /** Resolves with the sealed lengths. */
  seal(job: SealJob): Promise<Uint32Array>;
  /** Resolves with the plaintext lengths; `corrupt` when any frame was altered. */
  unseal(job: UnsealJob): Promise<Uint32Array>;
  /**
   * Resolves when all accepted jobs are done and the threads are gone; later calls are `aborted`.
   */
  close(): Promise<void>;
}

/** Room that `target` of a SealJob must have. */
export function sealedBytesMax(plainLengths: Uint32Array): number {
  let total = 0;
  for (const length of plainLengths) total += sealedFrameBytesMax(length);
  return total;
}

/** Does a whole SealJob on the calling thread. Returns the sealed lengths. */
export function sealFrames(job: SealJob): Uint32Array {
  const { seal, kind, firstIndex, compression, source, plainLengths, target } = job;
  checkSealJob(job);
  const sealedLengths = new Uint32Array(plainLengths.length);
  let sourceAt = 0;
  let targetAt = 0;
  for (let i = 0; i < plainLengths.length; i++) {
    const plain = source.subarray(sourceAt, sourceAt + plainLengths[i]!);
    const sealed = sealFrame(seal, kind, firstIndex + i, compression, plain, target, targetAt);
    sealedLengths[i] = sealed;
    sourceAt += plain.length;
    targetAt += sealed;
  }
  return sealedLengths;
}

/** Does a whole UnsealJob on the calling thread. Returns the plaintext lengths. */
export function unsealFrames(job: UnsealJob): Uint32Array {
  const { seal, kind, firstIndex, sealed, sealedLengths, target } = job;
  checkUnsealJob(job);
  const plainLengths = new Uint32Array(sealedLengths.length);
  let sealedAt = 0;
  let targetAt = 0;
  for (let i = 0; i < sealedLengths.length; i++) {
    const frame = sealed.subarray(sealedAt, sealedAt + sealedLengths[i]!);
    const plainLength = unsealFrame(seal, kind, firstIndex + i, frame, target, targetAt);
    plainLengths[i] = plainLength;
    sealedAt += frame.length;
    targetAt += plainLength;
  }
  return plainLengths;
}

export function checkSealJob(job: SealJob): void {
  assert(sum(job.plainLengths) === job.source.length, 'plaintext lengths add up to the source');
  assert(job.target.length >= sealedBytesMax(job.plainLengths), 'the target has room to seal');
}

/** `corrupt` when a frame is too short to be one: its length came from the store. */
export function checkUnsealJob(job: UnsealJob): void {
  assert(sum(job.sealedLengths) === job.sealed.length, 'sealed lengths add up to the source');
  for (let i = 0; i < job.sealedLengths.length; i++) {
    if (job.sealedLengths[i]! >= FRAME_OVERHEAD_BYTES) continue;
    const what = `frame ${job.firstIndex + i} of ${job.seal.objectName}`;
    throw new StorageError('corrupt', `${what} has only ${job.sealedLengths[i]} bytes`);
  }
}

/** Seals on the caller's thread before the call returns; the promises are already settled. */
export function createInlineSealer(): Sealer {
  let closed = false;
  // An async function turns what the work throws into a rejection, and runs up to there at once.
  async function guarded(work: () => Uint32Array): Promise<Uint32Array> {
    if (closed) throw sealerClosed();
    return work();
  }
  return {
    seal: (job) => guarded(() => sealFrames(job)),
    unseal: (job) => guarded(() => unsealFrames(job)),
    close: async () => {
      closed = true;
    },
  };
}

export function sealerClosed(): StorageError {
  return new StorageError('aborted', 'the sealer is closed');
}

function sum(lengths: Uint32Array): number {
  let total = 0;
  for (const length of lengths) total += length;
  return total;
}

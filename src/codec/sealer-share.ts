// How one job is cut into shares that several threads do at once.
//
//   job     | frame 0 | frame 1 | frame 2 | frame 3 | frame 4 | …
//   shares  |      share 0      |      share 1      | …
//
// A share is a run of whole frames, so it is a smaller job of the same shape. How long a frame
// comes out is not known before it is sealed, so each share gets its part of the target where it
// lies if no frame before it shrinks; when all shares are done, `packShares` closes the gaps.
// Opening has no gaps: the clear headers tell every length beforehand (and a header that lies fails
// authentication).

import { framePlainLength, sealedFrameBytesMax } from './frame.ts';
import { checkSealJob, checkUnsealJob, sealFrames, unsealFrames } from './sealer.ts';
import type { SealJob, UnsealJob } from './sealer.ts';

export type FrameJob =
  | { readonly operation: 'seal'; readonly job: SealJob }
  | { readonly operation: 'unseal'; readonly job: UnsealJob };

/** A run of frames of a job, with views of exactly its part of the source and of the target. */
export interface Share {
  readonly firstFrame: number;
  readonly frames: number;
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  /** Where `target` begins in the job's target. */
  readonly targetAt: number;
}

/** Where each frame lies: offsets in source and target, one more of each than there are frames. */
export interface FramePlan {
  readonly sourceOffsets: Float64Array;
  readonly targetOffsets: Float64Array;
  /** The larger of bytes in and bytes out: what the job costs. */
  readonly workBytes: number;
}

/** Does a job on the calling thread. */
export function runFrameJob({ operation, job }: FrameJob): Uint32Array {
  return operation === 'seal' ? sealFrames(job) : unsealFrames(job);
}

/** Checks a job's shape and lays out its frames. */
export function planFrames({ operation, job }: FrameJob): FramePlan {
  if (operation === 'seal') checkSealJob(job);
  else checkUnsealJob(job);
  const lengths = operation === 'seal' ? job.plainLengths : job.sealedLengths;
  const sourceOffsets = new Float64Array(lengths.length + 1);
  const targetOffsets = new Float64Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) {
    const sourceAt = sourceOffsets[i]!;
    const out =
      operation === 'seal'
        ? sealedFrameBytesMax(lengths[i]!)
        : framePlainLength(job.sealed, sourceAt);
    sourceOffsets[i + 1] = sourceAt + lengths[i]!;
    targetOffsets[i + 1] = targetOffsets[i]! + out;
  }
  const workBytes = Math.max(sourceOffsets[lengths.length]!, targetOffsets[lengths.length]!);
  return { sourceOffsets, targetOffsets, workBytes };
}

/** Cuts a planned job into shares of about `shareBytes` of work, each of at least one frame. */
export function cutShares(frameJob: FrameJob, plan: FramePlan, shareBytes: number): Share[] {
  const { operation, job } = frameJob;
  const { sourceOffsets, targetOffsets } = plan;
  const source = operation === 'seal' ? job.source : job.sealed;
  const frameCount = sourceOffsets.length - 1;
  const shares: Share[] = [];
  let first = 0;
  for (let i = 1; i <= frameCount; i++) {
    const sourceBytes = sourceOffsets[i]! - sourceOffsets[first]!;
    const targetBytes = targetOffsets[i]! - targetOffsets[first]!;
    if (Math.max(sourceBytes, targetBytes) < shareBytes && i < frameCount) continue;
    shares.push({
      firstFrame: first,
      frames: i - first,
      source: source.subarray(sourceOffsets[first], sourceOffsets[i]),
      target: job.target.subarray(targetOffsets[first], targetOffsets[i]),
      targetAt: targetOffsets[first]!,
    });
    first = i;
  }
  return shares;
}

/** The share as a job of its own, on the given memory (its own, or staged copies of it). */
export function jobOfShare(
  { operation, job }: FrameJob,
  share: Share,
  source: Uint8Array,
  target: Uint8Array,
): FrameJob {
  const { seal, kind } = job;
  const firstIndex = job.firstIndex + share.firstFrame;
  const end = share.firstFrame + share.frames;
  // `slice`, not `subarray`: a view that is sent to a thread takes the memory behind it along.
  if (operation === 'seal') {
    const plainLengths = job.plainLengths.slice(share.firstFrame, end);
    const { compression } = job;
    return {
      operation,
      job: { seal, kind, firstIndex, compression, source, plainLengths, target },
    };
  }
  const sealedLengths = job.sealedLengths.slice(share.firstFrame, end);
  return { operation, job: { seal, kind, firstIndex, sealed: source, sealedLengths, target } };
}

/** Moves what the shares wrote together in `target`, and returns all frames' lengths in order. */
export function packShares(
  target: Uint8Array,
  shares: readonly Share[],
  lengthsOfShares: readonly Uint32Array[],
): Uint32Array {
  const last = shares.at(-1);
  const lengths = new Uint32Array(last === undefined ? 0 : last.firstFrame + last.frames);
  let packedAt = 0;
  for (const [i, share] of shares.entries()) {
    const shareLengths = lengthsOfShares[i]!;
    lengths.set(shareLengths, share.firstFrame);
    const bytes = sumOf(shareLengths);
    if (packedAt !== share.targetAt) {
      target.copyWithin(packedAt, share.targetAt, share.targetAt + bytes);
    }
    packedAt += bytes;
  }
  return lengths;
}

export function sumOf(lengths: Uint32Array): number {
  let total = 0;
  for (const length of lengths) total += length;
  return total;
}

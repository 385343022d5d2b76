// The body of a sealing thread: takes a job, does it in the shared memory that the job names,
// answers with the frames' lengths or with what went wrong. One job at a time, in order; see
// sealer-pool.ts for the other side.

import { parentPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import type { StorageErrorKind } from '../base/errors.ts';
import { runFrameJob } from './sealer-share.ts';
import type { FrameJob } from './sealer-share.ts';
import { MemoryMirror, type MemoryNews, type SharedView } from './thread-memory.ts';

/** A job whose memory is named instead of held. */
export interface SealerRequest {
  readonly news: MemoryNews;
  readonly source: SharedView;
  readonly target: SharedView;
  readonly job: FrameJob;
}

/** Errors lose their class between threads, so kind and message go as data. */
export type SealerReply =
  | { readonly lengths: Uint32Array }
  | { readonly kind: StorageErrorKind; readonly message: string };

function onMemory(frameJob: FrameJob, source: Uint8Array, target: Uint8Array): FrameJob {
  return frameJob.operation === 'seal'
    ? { operation: 'seal', job: { ...frameJob.job, source, target } }
    : { operation: 'unseal', job: { ...frameJob.job, sealed: source, target } };
}

function answer(frameJob: FrameJob): SealerReply {
  try {
    return { lengths: runFrameJob(frameJob) };
  } catch (error) {
    if (error instanceof StorageError) return { kind: error.kind, message: error.message };
    // A bug: let it end the thread, so that the pool reports it and starts afresh.
    throw error;
  }
}

const port = parentPort;
assert(port !== null, 'this module runs in a worker thread');
const memory = new MemoryMirror();
port.on('message', ({ news, source, target, job }: SealerRequest) => {
  memory.learn(news);
  port.postMessage(answer(onMemory(job, memory.view(source), memory.view(target))));
});
port.on('messageerror', (error) => {
  throw error;
});

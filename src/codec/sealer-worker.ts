// The body of a sealing thread: takes a job, does it in the shared memory that the job names,
// answers with the frames' lengths or with what went wrong. One job at a time, in order; see
// sealer-pool.ts for the other side.

import { parentPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { StorageError } from '../base/errors.ts';
import type { StorageErrorKind } from '../base/errors.ts';
import { runFrameJob } from './sealer-share.ts';
import type { FrameJob } from './sealer-share.ts';

/** Errors lose their class between threads, so kind and message go as data. */
export type SealerReply =
  | { readonly lengths: Uint32Array }
  | { readonly kind: StorageErrorKind; readonly message: string };

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
port.on('message', (frameJob: FrameJob) => port.postMessage(answer(frameJob)));
port.on('messageerror', (error) => {
  throw error;
});

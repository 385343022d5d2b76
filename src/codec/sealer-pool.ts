// A sealer over worker threads. Jobs are cut into shares (sealer-share.ts); each thread does one
// share at a time.
//
//   seal()   ─▶ limit ─▶ lane of shares ─┐             ┌─▶ thread 0 [staging]
//                                        ├─ in turns ──┤
//   unseal() ─▶ limit ─▶ lane of shares ─┘             └─▶ thread 1 [staging]
//
// 1. Memory over SharedArrayBuffer goes to the threads by name (thread-memory.ts). Other memory is
//    copied through the staging buffers of the thread that does the share, so staging is bounded by
//    the number of threads.
// 2. Sealing and opening wait in lanes of their own, served in turns: a read does not wait behind a
//    queue of segments, nor a barrier behind a queue of reads. Within a lane it is first come,
//    first served.
// 3. Small jobs are done on the caller's thread: the round trip would cost more than the work.
// 4. A job settles only when none of its shares is in a thread, so its buffers are the caller's
//    again.
// 5. A thread that dies fails the share that it held (`unavailable`, and a retry may succeed); the
//    next share that needs the thread starts a new one.

import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Semaphore } from '../base/semaphore.ts';
import { cutShares, jobOfShare, packShares, planFrames, runFrameJob } from './sealer-share.ts';
import { sumOf } from './sealer-share.ts';
import type { FrameJob, FramePlan, Share } from './sealer-share.ts';
import { sealerClosed } from './sealer.ts';
import type { Sealer } from './sealer.ts';
import type { SealerReply, SealerRequest } from './sealer-worker.ts';
import { Staging } from './staging.ts';
import { MemoryLedger, type MemoryNews } from './thread-memory.ts';

/** Work that may wait in a lane; past it callers wait before they are queued. */
const LANE_BYTES_MAX = 64 * 2 ** 20;

/** Less than this is not worth a round trip of its own. */
const SHARE_BYTES_MIN = 128 * 1024;

/** Small enough that the other lane's turn comes within a few milliseconds. */
const SHARE_BYTES_MAX = 2 ** 20;

/** Threads hold no data of ours in their heaps, only views: these keep V8 from reserving more. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 1 } as const;

const NO_BYTES = new Uint8Array(0);

export interface SealerPoolOptions {
  /** At least 1. */
  readonly threads: number;
  /** Jobs of at most so many bytes, in or out, are done on the caller's thread. */
  readonly inlineBytesMax: number;
  readonly log: Log;
  /** Starts a thread that runs sealer-worker.ts. Only tests give another. */
  readonly spawn?: () => Worker;
}

interface PendingJob {
  readonly frameJob: FrameJob;
  readonly shares: readonly Share[];
  readonly lengths: Uint32Array[];
  unfinished: number;
  failure: Error | undefined;
  readonly resolve: (lengths: Uint32Array) => void;
  readonly reject: (error: Error) => void;
}

interface QueuedShare {
  readonly pending: PendingJob;
  readonly number: number;
}

interface Lane {
  readonly limit: Semaphore;
  readonly waiting: QueuedShare[];
}

/** One thread's place. The thread itself may be missing until it is needed. */
interface Slot {
  worker: Worker | undefined;
  running: QueuedShare | undefined;
  /** What the thread was told to write to: the share's own target, or staging. */
  target: Uint8Array | undefined;
  readonly staging: Staging;
  /** What the thread knows; a new thread knows nothing. */
  memory: MemoryLedger;
  /** What an uncaught error said, for the message when the thread has exited. */
  lastWords: string;
}

export function createSealerPool(options: SealerPoolOptions): Sealer {
  const pool = new SealerPool(options);
  return {
    seal: (job) => pool.run({ operation: 'seal', job }),
    unseal: (job) => pool.run({ operation: 'unseal', job }),
    close: () => pool.close(),
  };
}

function spawnSealerThread(): Worker {
  return new Worker(new URL('./sealer-worker.ts', import.meta.url), {
    name: 'varve-sealer',
    resourceLimits: THREAD_LIMITS,
    // The thread needs nothing of the environment, which may hold the passphrase.
    env: {},
    execArgv: [],
  });
}

class SealerPool {
  readonly #inlineBytesMax: number;
  readonly #log: Log;
  readonly #spawn: () => Worker;
  readonly #slots: Slot[] = [];
  readonly #lanes: Readonly<Record<FrameJob['operation'], Lane>> = {
    seal: { limit: new Semaphore(LANE_BYTES_MAX), waiting: [] },
    unseal: { limit: new Semaphore(LANE_BYTES_MAX), waiting: [] },
  };
  #turn: FrameJob['operation'] = 'unseal';
  #jobs = 0;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(options: SealerPoolOptions) {
    assert(options.threads >= 1, 'a sealer pool has at least one thread');
    this.#inlineBytesMax = options.inlineBytesMax;
    this.#log = options.log;
    this.#spawn = options.spawn ?? spawnSealerThread;
    for (let i = 0; i < options.threads; i++) {
      const slot: Slot = {
        worker: undefined,
        running: undefined,
        target: undefined,
        staging: new Staging(),
        memory: new MemoryLedger(),
        lastWords: '',
      };
      this.#slots.push(slot);
      // Started now, so that the first barrier does not wait for a thread to load.
      this.#startThread(slot);
    }
  }

  async run(frameJob: FrameJob): Promise<Uint32Array> {
    if (this.#closing !== undefined) throw sealerClosed();
    const plan = planFrames(frameJob);
    if (plan.workBytes <= this.#inlineBytesMax) return runFrameJob(frameJob);
    // A job that claims more than it may write is refused by the plain path, which says why.
    if (plan.targetOffsets.at(-1)! > frameJob.job.target.length) return runFrameJob(frameJob);
    const { limit } = this.#lanes[frameJob.operation];
    this.#jobs += 1;
    try {
      await limit.acquire(plan.workBytes);
      try {
        return await this.#enqueue(frameJob, plan);
      } finally {
        limit.release(plan.workBytes);
      }
    } finally {
      this.#jobs -= 1;
      if (this.#jobs === 0) this.#drained?.();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#drainAndStop();
    return this.#closing;
  }

  async #drainAndStop(): Promise<void> {
    if (this.#jobs > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    const workers = this.#slots.flatMap((slot) => slot.worker ?? []);
    for (const slot of this.#slots) slot.worker = undefined;
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #enqueue(frameJob: FrameJob, plan: FramePlan): Promise<Uint32Array> {
    const even = Math.ceil(plan.workBytes / this.#slots.length);
    const shareBytes = Math.min(SHARE_BYTES_MAX, Math.max(SHARE_BYTES_MIN, even));
    const shares = cutShares(frameJob, plan, shareBytes);
    return new Promise((resolve, reject) => {
      const unfinished = shares.length;
      const failure = undefined;
      const pending = { frameJob, shares, lengths: [], unfinished, failure, resolve, reject };
      const { waiting } = this.#lanes[frameJob.operation];
      for (let number = 0; number < shares.length; number++) waiting.push({ pending, number });
      this.#pump();
    });
  }

  /** Gives every idle thread a share. */
  #pump(): void {
    for (const slot of this.#slots) {
      if (slot.running !== undefined) continue;
      const next = this.#next();
      if (next === undefined) return;
      this.#dispatch(slot, next);
    }
  }

  /**
   * The next share to do, from the lanes in turns. Shares of a job that has failed are dropped
   * here.
   */
  #next(): QueuedShare | undefined {
    for (;;) {
      const other = this.#turn === 'seal' ? 'unseal' : 'seal';
      const lane = this.#lanes[this.#turn].waiting.length > 0 ? this.#turn : other;
      // A lane holds at most a few hundred shares, so `shift` is cheap.
      const next = this.#lanes[lane].waiting.shift();
      if (next === undefined) return undefined;
      if (next.pending.failure === undefined) {
        this.#turn = lane === 'seal' ? 'unseal' : 'seal';
        return next;
      }
      finishShare(next.pending);
    }
  }

  #dispatch(slot: Slot, queued: QueuedShare): void {
    const { frameJob, shares } = queued.pending;
    const share = shares[queued.number]!;
    const source = slot.staging.sourceOf(share.source);
    const target = slot.staging.targetFor(share.target);
    slot.running = queued;
    slot.target = target;
    const worker = slot.worker ?? this.#startThread(slot);
    // While it works the thread holds the process: someone awaits the answer.
    worker.ref();
    const news: MemoryNews = { introduced: [], forgotten: [] };
    const request: SealerRequest = {
      news,
      source: slot.memory.describe(source, news),
      target: slot.memory.describe(target, news),
      job: jobOfShare(frameJob, share, NO_BYTES, NO_BYTES),
    };
    worker.postMessage(request);
  }

  #startThread(slot: Slot): Worker {
    const worker = this.#spawn();
    slot.worker = worker;
    slot.memory = new MemoryLedger();
    slot.lastWords = '';
    worker.on('message', (reply: SealerReply) => this.#onReply(slot, worker, reply));
    worker.on('error', (error) => (slot.lastWords = messageOf(error)));
    // An answer that cannot be read is lost: end the thread, and the share fails with it.
    worker.on('messageerror', () => void worker.terminate());
    worker.on('exit', (code) => this.#onExit(slot, worker, code));
    worker.unref();
    return worker;
  }

  #onReply(slot: Slot, worker: Worker, reply: SealerReply): void {
    const { running, target } = slot;
    assert(running !== undefined && target !== undefined, 'a thread answers what it was asked');
    slot.running = undefined;
    slot.target = undefined;
    worker.unref();
    const { pending, number } = running;
    if ('lengths' in reply) {
      const share = pending.shares[number]!;
      pending.lengths[number] = reply.lengths;
      if (target !== share.target) share.target.set(target.subarray(0, sumOf(reply.lengths)));
    } else {
      pending.failure ??= new StorageError(reply.kind, reply.message);
    }
    finishShare(pending);
    this.#pump();
  }

  #onExit(slot: Slot, worker: Worker, code: number): void {
    // Past `close` the slot has let go of the thread.
    if (slot.worker !== worker) return;
    const { running } = slot;
    slot.worker = undefined;
    slot.running = undefined;
    slot.target = undefined;
    this.#log.error('sealer.thread.died', { code, error: slot.lastWords });
    if (running !== undefined) {
      const why = slot.lastWords === '' ? `exit code ${code}` : slot.lastWords;
      const { objectName } = running.pending.frameJob.job.seal;
      const message = `a sealing thread died at work on ${objectName} (${why})`;
      running.pending.failure ??= new StorageError('unavailable', message);
      finishShare(running.pending);
    }
    this.#pump();
  }
}

/** One share of the job is done, failed or dropped. */
function finishShare(pending: PendingJob): void {
  pending.unfinished -= 1;
  if (pending.unfinished > 0) return;
  if (pending.failure !== undefined) pending.reject(pending.failure);
  else {
    const { target } = pending.frameJob.job;
    pending.resolve(packShares(target, pending.shares, pending.lengths));
  }
}

// Runs checked requests on the device and writes their replies.
//
// 1. The device is asked. When it answers without a promise the reply is packed in the same turn.
// 2. Otherwise the request is copied and counted as in flight, and its reply goes out when the
//    promise settles, in whatever order that is.
// 3. FUA on a change flushes the device after the change and before the reply. That is a whole
//    barrier: it makes everything durable that was completed before it, which is more than FUA asks
//    for.
//
// Payloads that a request borrows live until its call settles, whatever becomes of the connection.

import { COMMAND, COMMAND_FLAG } from '../../proto/nbd/constants.ts';
import { clientMessageOf, errnoOf } from '../../proto/nbd/errors.ts';
import {
  blockStatusBytes,
  ERROR_CHUNK_BYTES_MAX,
  EXTENDED_HEADER_BYTES,
  SIMPLE_REPLY_BYTES,
  writeBlockStatus,
  writeError,
  writeNone,
  writeSimpleReply,
} from '../../proto/nbd/reply.ts';
import { copyRequest } from '../../proto/nbd/request.ts';
import type { NbdRequest } from '../../proto/nbd/request.ts';
import { isStorageError, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Extent, Maybe } from '../../volume/block-device.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ConnectionMemory } from './connection-memory.ts';
import type { NbdCounters } from './counters.ts';
import { EXTENTS_MAX, IN_FLIGHT_REQUESTS_MAX } from './limits.ts';
import { Reader } from './reader.ts';
import type { ReplyStream } from './reply-stream.ts';
import { ALLOCATION_CONTEXT_ID } from './session.ts';
import type { Refusal, Session } from './session.ts';

export interface ExecutorDeps {
  readonly stream: ReplyStream;
  readonly pool: BufferPool;
  readonly counters: NbdCounters;
  readonly log: Log;
  readonly memory: ConnectionMemory;
  /** Called after a request that was in flight has been answered. */
  readonly onSettled: () => void;
}

export class Executor {
  readonly #session: Session;
  readonly #stream: ReplyStream;
  readonly #pool: BufferPool;
  readonly #counters: NbdCounters;
  readonly #log: Log;
  readonly #onSettled: () => void;
  readonly #memory: ConnectionMemory;
  readonly #extended: boolean;
  readonly #reader: Reader;
  readonly #loggedKinds = new Set<string>();
  #inFlight = 0;

  constructor(deps: ExecutorDeps, session: Session) {
    this.#session = session;
    this.#stream = deps.stream;
    this.#pool = deps.pool;
    this.#counters = deps.counters;
    this.#log = deps.log;
    this.#onSettled = deps.onSettled;
    this.#memory = deps.memory;
    this.#extended = session.mode === 'extended';
    this.#reader = new Reader(session, deps.stream, deps.pool);
  }

  get idle(): boolean {
    return this.#inFlight === 0;
  }

  /** True when no further request may start. */
  get full(): boolean {
    return this.#inFlight >= IN_FLIGHT_REQUESTS_MAX;
  }

  /**
   * Runs a request that `checkRequest` let pass. `payload` belongs to a WRITE and is borrowed until
   * the device's call settles; `pooled` is the pool's buffer behind it, if it is one.
   */
  execute(request: NbdRequest, payload: Uint8Array | undefined, pooled: Buffer | undefined): void {
    let work: Maybe<void>;
    try {
      work = this.#start(request, payload);
    } catch (error) {
      this.#fail(request, error);
      if (pooled !== undefined) this.#pool.give(pooled);
      return;
    }
    if (work === undefined) {
      if (pooled !== undefined) this.#pool.give(pooled);
      return;
    }
    const bytes = this.bytesOf(request, payload?.length ?? 0);
    void this.#track(copyRequest(request), work, bytes, pooled);
  }

  /** What a request holds until it is answered, with a payload of `payloadBytes`. */
  bytesOf({ type, flags, length }: NbdRequest, payloadBytes: number): number {
    if (type === COMMAND.read) return length;
    if (type !== COMMAND.blockStatus) return payloadBytes;
    const one = (flags & COMMAND_FLAG.reqOne) !== 0;
    return payloadBytes + blockStatusBytes(this.#extended, one ? 1 : EXTENTS_MAX);
  }

  /** Runs BLOCK_STATUS for a range that may differ from the header's length. */
  executeBlockStatus(request: NbdRequest, length: number): void {
    const ranged = copyRequest(request);
    ranged.length = length;
    this.execute(ranged, undefined, undefined);
  }

  refuse(request: NbdRequest, refusal: Refusal): void {
    this.#replyError(request, refusal.errno, refusal.message);
  }

  /** Begins the work. What it returns resolves when the reply has been written. */
  #start(request: NbdRequest, payload: Uint8Array | undefined): Maybe<void> {
    const { device } = this.#session;
    const counters = this.#counters;
    const { offset, length } = request;
    switch (request.type) {
      case COMMAND.read:
        counters.reads += 1;
        counters.bytesRead += length;
        return this.#reader.read(request);
      case COMMAND.write:
        counters.writes += 1;
        counters.bytesWritten += length;
        return this.#change(
          request,
          payload === undefined ? undefined : device.write(offset, payload),
        );
      case COMMAND.flush:
        counters.flushes += 1;
        return this.#acknowledgeAfter(request, device.flush());
      case COMMAND.trim:
        counters.trims += 1;
        return this.#change(request, length === 0 ? undefined : device.trim(offset, length));
      case COMMAND.writeZeroes: {
        counters.zeroes += 1;
        const allocate = (request.flags & COMMAND_FLAG.noHole) !== 0;
        const work = length === 0 ? undefined : device.writeZeroes(offset, length, allocate);
        return this.#change(request, work);
      }
      case COMMAND.cache:
        counters.caches += 1;
        return this.#acknowledgeAfter(
          request,
          length === 0 ? undefined : device.prefetch(offset, length),
        );
      default:
        counters.statuses += 1;
        return this.#blockStatus(request);
    }
  }

  #change(request: NbdRequest, work: Maybe<void>): Maybe<void> {
    if ((request.flags & COMMAND_FLAG.fua) === 0) return this.#acknowledgeAfter(request, work);
    const { device } = this.#session;
    const durable = work === undefined ? device.flush() : work.then(() => device.flush());
    return this.#acknowledgeAfter(request, durable);
  }

  #acknowledgeAfter(request: NbdRequest, work: Maybe<void>): Maybe<void> {
    if (work === undefined) {
      this.#acknowledge(request);
      return undefined;
    }
    const kept = copyRequest(request);
    return work.then(() => this.#acknowledge(kept));
  }

  #acknowledge(request: NbdRequest): void {
    const stream = this.#stream;
    const at = stream.reserve(EXTENDED_HEADER_BYTES);
    const { view } = stream.slab;
    // With structured replies a simple one is still allowed where there is no payload, and it is
    // shorter.
    stream.commit(
      this.#extended ? writeNone(view, at, request, true) : writeSimpleReply(view, at, request, 0),
    );
  }

  #blockStatus(request: NbdRequest): Maybe<void> {
    const one = (request.flags & COMMAND_FLAG.reqOne) !== 0;
    const extents = this.#session.device.blockStatus(
      request.offset,
      request.length,
      one ? 1 : EXTENTS_MAX,
    );
    if (!(extents instanceof Promise)) return this.#replyStatus(request, extents);
    const kept = copyRequest(request);
    return extents.then((value) => this.#replyStatus(kept, value));
  }

  #replyStatus(request: NbdRequest, extents: readonly Extent[]): undefined {
    const stream = this.#stream;
    const at = stream.reserve(blockStatusBytes(this.#extended, extents.length));
    const { view } = stream.slab;
    const id = ALLOCATION_CONTEXT_ID;
    stream.commit(writeBlockStatus(view, at, request, this.#extended, id, extents));
    return undefined;
  }

  /**
   * Owns an answer that is on its way: counts it, turns its failure into a reply, frees its
   * payload.
   */
  async #track(
    request: NbdRequest,
    work: Promise<void>,
    bytes: number,
    pooled: Buffer | undefined,
  ): Promise<void> {
    this.#inFlight += 1;
    this.#memory.forDevice(bytes);
    try {
      await work;
    } catch (error) {
      this.#fail(request, error);
    }
    if (pooled !== undefined) this.#pool.give(pooled);
    this.#inFlight -= 1;
    this.#memory.forDevice(-bytes);
    this.#onSettled();
  }

  #fail(request: NbdRequest, error: unknown): void {
    const kind = isStorageError(error) ? error.kind : 'bug';
    // Once for each kind: a device that fails would otherwise log every request.
    if (kind !== 'invalid' && !this.#loggedKinds.has(kind)) {
      this.#loggedKinds.add(kind);
      const { name } = this.#session.device;
      const fields = { export: name, command: request.type, kind, message: messageOf(error) };
      this.#log.error('nbd.request.failed', fields);
    }
    this.#replyError(request, errnoOf(error), clientMessageOf(error));
  }

  #replyError(request: NbdRequest, errno: number, message: string): void {
    this.#counters.errors += 1;
    const stream = this.#stream;
    if (this.#session.mode === 'simple') {
      const at = stream.reserve(SIMPLE_REPLY_BYTES);
      stream.commit(writeSimpleReply(stream.slab.view, at, request, errno));
      return;
    }
    const at = stream.reserve(ERROR_CHUNK_BYTES_MAX);
    stream.commit(writeError(stream.slab.view, at, request, this.#extended, errno, message));
  }
}

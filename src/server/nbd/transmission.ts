// The transmission phase of one connection: cuts the byte stream into requests and hands them to
// the executor.
//
//   header → (refused, payload) → drain ─────────────┐
//          → WRITE → whole payload in this chunk ────┤ → next header
//                  → payload in parts → collect ─────┤
//          → other commands ─────────────────────────┘
//
// A request that there is no memory for is left in the stream, header and all, until there is.
//
// A header or payload that lies within one chunk is used in place. A payload that spans chunks is
// scattered once into a pooled buffer. The payload of a refused request is always read and dropped,
// so the stream keeps its frame.

import { COMMAND, COMMAND_FLAG, PAYLOAD_BYTES_MAX } from '../../proto/nbd/constants.ts';
import { ERRNO } from '../../proto/nbd/errors.ts';
import {
  createRequest,
  decodeBlockStatusPayload,
  decodeRequest,
  EXTENDED_REQUEST_BYTES,
  requestBytes,
} from '../../proto/nbd/request.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ConnectionMemory } from './connection-memory.ts';
import type { Executor } from './executor.ts';
import { PAYLOAD_DRAIN_BYTES_MAX } from './limits.ts';
import type { Phase, PhaseHost } from './phase.ts';
import { ALLOCATION_CONTEXT_ID, checkRange, checkRequest } from './session.ts';
import type { Refusal, Session } from './session.ts';

/** Every context id there is, many times over; a longer status payload cannot be a valid one. */
const STATUS_PAYLOAD_BYTES_MAX = 256;

const SHUTTING_DOWN: Refusal = { errno: ERRNO.shutdown, message: 'the server is shutting down' };
const BAD_STATUS_PAYLOAD: Refusal = {
  errno: ERRNO.invalid,
  message: 'the status payload names unknown or repeated contexts',
};

export interface TransmissionDeps {
  readonly session: Session;
  readonly executor: Executor;
  readonly memory: ConnectionMemory;
  readonly pool: BufferPool;
  readonly host: PhaseHost;
}

export class Transmission implements Phase {
  readonly #session: Session;
  readonly #executor: Executor;
  readonly #memory: ConnectionMemory;
  readonly #pool: BufferPool;
  readonly #host: PhaseHost;
  readonly #extended: boolean;
  readonly #headerBytes: number;
  readonly #header = Buffer.alloc(EXTENDED_REQUEST_BYTES);
  readonly #headerView = new DataView(this.#header.buffer, this.#header.byteOffset);
  readonly #request = createRequest();
  #headerFilled = 0;
  /** What the next request needs, when there was no room for it. */
  #wantedBytes = 0;
  /** Set while a payload is being collected. */
  #payload: Buffer | undefined;
  #payloadFilled = 0;
  /** Bytes of a refused payload that are still to come, and why it is refused. */
  #drainBytes = 0;
  #refusal: Refusal | undefined;
  #stopping = false;
  #frozen = false;

  constructor(deps: TransmissionDeps) {
    this.#session = deps.session;
    this.#executor = deps.executor;
    this.#memory = deps.memory;
    this.#pool = deps.pool;
    this.#host = deps.host;
    this.#extended = deps.session.mode === 'extended';
    this.#headerBytes = requestBytes(this.#extended);
  }

  get idle(): boolean {
    return this.#executor.idle;
  }

  get full(): boolean {
    return this.#executor.full || this.atRest || !this.#admits(this.#wantedBytes);
  }

  /** What is refused needs no memory. */
  #admits(bytes: number): boolean {
    return this.#stopping || this.#memory.admits(bytes);
  }

  /** Frozen, and between two requests: nothing more is taken. */
  get atRest(): boolean {
    return this.#frozen && this.#drainBytes === 0 && this.#payload === undefined;
  }

  /** From now on no request is begun; one whose payload is on its way is still read. */
  freeze(): void {
    this.#frozen = true;
  }

  /** The bytes of a header that is not complete. */
  partialHeader(): Buffer {
    return this.#header.subarray(0, this.#headerFilled);
  }

  /** From now on every new request is answered with ESHUTDOWN. */
  stop(): void {
    this.#stopping = true;
  }

  /** No further bytes come. Gives an incomplete payload's buffer back. */
  close(): void {
    if (this.#payload !== undefined) this.#pool.give(this.#takePayload(this.#payload));
  }

  consume(chunk: Buffer, start: number): number {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = start;
    while (at < chunk.length && !this.#host.blocked) {
      if (this.#drainBytes > 0) at = this.#drain(chunk, at);
      else if (this.#payload !== undefined) at = this.#collect(this.#payload, chunk, at);
      else at = this.#takeHeader(chunk, view, at);
    }
    return at;
  }

  #takeHeader(chunk: Buffer, view: DataView, at: number): number {
    const need = this.#headerBytes;
    const filled = this.#headerFilled;
    let end = at + need;
    let valid: boolean;
    if (filled === 0 && end <= chunk.length) {
      valid = decodeRequest(view, at, this.#extended, this.#request);
    } else {
      end = Math.min(at + need - filled, chunk.length);
      this.#headerFilled += chunk.copy(this.#header, filled, at, end);
      if (this.#headerFilled < need) return end;
      this.#headerFilled = 0;
      valid = decodeRequest(this.#headerView, 0, this.#extended, this.#request);
    }
    if (!valid) {
      this.#host.fail('a request without its magic');
      return chunk.length;
    }
    const next = this.#begin(chunk, end);
    if (next !== undefined) return next;
    this.#headerFilled = filled;
    return at;
  }

  /** Bytes that follow the header, as its own fields say. */
  #payloadBytes(): number {
    const { type, flags, length } = this.#request;
    if (this.#extended) return (flags & COMMAND_FLAG.payloadLength) === 0 ? 0 : length;
    return type === COMMAND.write ? length : 0;
  }

  /** The header is decoded and `at` is behind it. Undefined: there is no room for the request. */
  #begin(chunk: Buffer, at: number): number | undefined {
    const request = this.#request;
    if (request.type === COMMAND.disconnect) {
      this.#host.finish();
      return chunk.length;
    }
    const payloadBytes = this.#payloadBytes();
    // Extended headers promise a client that keeps to the advertised size; others get some grace.
    const payloadMax = this.#extended ? PAYLOAD_BYTES_MAX : PAYLOAD_DRAIN_BYTES_MAX;
    if (payloadBytes > payloadMax) {
      this.#host.fail('a payload past every limit');
      return chunk.length;
    }
    const refusal = this.#stopping ? SHUTTING_DOWN : this.#check(payloadBytes);
    if (refusal !== undefined) {
      if (payloadBytes === 0) {
        this.#executor.refuse(request, refusal);
        return at;
      }
      this.#refusal = refusal;
      this.#drainBytes = payloadBytes;
      return this.#drain(chunk, at);
    }
    const wantedBytes = this.#executor.bytesOf(request, payloadBytes);
    const admitted = this.#admits(wantedBytes);
    this.#wantedBytes = admitted ? 0 : wantedBytes;
    if (!admitted) return undefined;
    if (payloadBytes === 0) {
      this.#executor.execute(request, undefined, undefined);
      return at;
    }
    if (chunk.length - at >= payloadBytes) {
      this.#run(chunk.subarray(at, at + payloadBytes), undefined);
      return at + payloadBytes;
    }
    this.#payload = this.#pool.take(payloadBytes);
    this.#payloadFilled = 0;
    this.#memory.forClient(payloadBytes);
    return this.#collect(this.#payload, chunk, at);
  }

  #check(payloadBytes: number): Refusal | undefined {
    const refusal = checkRequest(this.#request, this.#session);
    if (refusal !== undefined) return refusal;
    const isStatus = this.#request.type === COMMAND.blockStatus;
    return isStatus && payloadBytes > STATUS_PAYLOAD_BYTES_MAX ? BAD_STATUS_PAYLOAD : undefined;
  }

  #drain(chunk: Buffer, at: number): number {
    const count = Math.min(this.#drainBytes, chunk.length - at);
    this.#drainBytes -= count;
    if (this.#drainBytes === 0 && this.#refusal !== undefined) {
      this.#executor.refuse(this.#request, this.#refusal);
      this.#refusal = undefined;
    }
    return at + count;
  }

  #collect(payload: Buffer, chunk: Buffer, at: number): number {
    const { length } = this.#request;
    const end = Math.min(at + length - this.#payloadFilled, chunk.length);
    this.#payloadFilled += chunk.copy(payload, this.#payloadFilled, at, end);
    this.#memory.moved();
    if (this.#payloadFilled === length) {
      this.#run(this.#takePayload(payload).subarray(0, length), payload);
    }
    return end;
  }

  /** It is not collected any more. */
  #takePayload(payload: Buffer): Buffer {
    this.#payload = undefined;
    this.#memory.forClient(-this.#request.length);
    return payload;
  }

  /** The request and its whole payload are here. */
  #run(payload: Uint8Array, pooled: Buffer | undefined): void {
    if (this.#request.type === COMMAND.write) {
      this.#executor.execute(this.#request, payload, pooled);
      return;
    }
    this.#runFilteredStatus(payload);
    if (pooled !== undefined) this.#pool.give(pooled);
  }

  #runFilteredStatus(payload: Uint8Array): void {
    const filter = decodeBlockStatusPayload(payload);
    const known = filter?.contexts.every((id) => id === ALLOCATION_CONTEXT_ID) === true;
    // A filter that names nothing would ask for a reply without a chunk, which does not exist.
    if (filter === undefined || !known || filter.contexts.length === 0) {
      this.#executor.refuse(this.#request, BAD_STATUS_PAYLOAD);
      return;
    }
    const refusal = checkRange(this.#request, filter.length, this.#session);
    if (refusal !== undefined) this.#executor.refuse(this.#request, refusal);
    else this.#executor.executeBlockStatus(this.#request, filter.length);
  }
}

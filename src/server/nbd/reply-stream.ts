// Packs replies into large buffers (slabs) so that a batch of them is one write to the socket.
//
//   slab   | sent | run: committed, unsent | reserved | room … |
//                  ^start                   ^end
//
// 1. `reserve` makes sure that the slab has room after `end`; the caller writes there, then
//    `commit`s.
// 2. A reply whose data come later `detach`es its region: the run before it is sealed, packing goes
//    on behind it, and the region is `attach`ed when it is complete. So its data are never copied.
// 3. `flush` hands the sealed pieces to the wire in one go.
//
// A slab goes back to the pool when the stream has left it and no piece of it is unsent or
// detached.

import { assert } from '../../base/assert.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ConnectionMemory } from './connection-memory.ts';
import { SLAB_BYTES } from './limits.ts';
import type { Wire } from './wire.ts';

/** A pooled buffer shared by several pieces. */
export interface Slab {
  readonly bytes: Buffer;
  readonly view: DataView;
  references: number;
}

/** A part of a slab that waits for its data. Must be attached or dropped, once. */
export interface Region {
  readonly slab: Slab;
  readonly start: number;
}

type Release = () => void;

export class ReplyStream {
  readonly #wire: Wire;
  readonly #pool: BufferPool;
  readonly #memory: ConnectionMemory;
  readonly #onSent: () => void;
  #slab: Slab;
  #start = 0;
  #end = 0;
  #chunks: Uint8Array[] = [];
  #slabs: Slab[] = [];
  #releases: Release[] = [];
  #queuedBytes = 0;
  #unsentBytes = 0;
  #closed = false;

  /** `onSent` is called whenever the wire has taken bytes. */
  constructor(wire: Wire, pool: BufferPool, memory: ConnectionMemory, onSent: () => void) {
    this.#wire = wire;
    this.#pool = pool;
    this.#memory = memory;
    this.#onSent = onSent;
    this.#slab = this.#newSlab();
  }

  /** Bytes of sealed pieces, and of those handed to the wire that it has not taken. */
  get unsentBytes(): number {
    return this.#queuedBytes + this.#unsentBytes;
  }

  /** The slab that the last `reserve` was for. */
  get slab(): Slab {
    return this.#slab;
  }

  #newSlab(): Slab {
    const bytes = this.#pool.take(SLAB_BYTES);
    return {
      bytes,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      references: 1,
    };
  }

  #unreference(slab: Slab): void {
    slab.references -= 1;
    assert(slab.references >= 0, 'a slab is released once by each holder');
    if (slab.references === 0) this.#pool.give(slab.bytes);
  }

  /** Where in `slab` the next `bytes` (at most SLAB_BYTES) may be written. */
  reserve(bytes: number): number {
    assert(bytes <= SLAB_BYTES, 'a packed reply fits a slab');
    if (this.#end + bytes <= SLAB_BYTES) return this.#end;
    if (this.#slab.references === 1 && this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
      return 0;
    }
    this.flush();
    this.#unreference(this.#slab);
    this.#slab = this.#newSlab();
    this.#start = 0;
    this.#end = 0;
    return 0;
  }

  /** What was written from the reserved start up to `end` is the next reply. */
  commit(end: number): void {
    this.#end = end;
  }

  /** Copies a small message. */
  append(message: Uint8Array): void {
    const at = this.reserve(message.length);
    this.#slab.bytes.set(message, at);
    this.commit(at + message.length);
  }

  #push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#memory.forClient(chunk.length);
  }

  #seal(): void {
    if (this.#start === this.#end) return;
    this.#push(this.#slab.bytes.subarray(this.#start, this.#end));
    this.#slab.references += 1;
    this.#slabs.push(this.#slab);
    this.#start = this.#end;
  }

  /** Takes `bytes` at the reserved place out of the run, for a reply that is completed later. */
  detach(bytes: number): Region {
    this.#seal();
    const region = { slab: this.#slab, start: this.#end };
    this.#slab.references += 1;
    this.#end += bytes;
    this.#start = this.#end;
    return region;
  }

  /** Sends a detached region up to `end`. */
  attach(region: Region, end: number): void {
    this.#seal();
    this.#push(region.slab.bytes.subarray(region.start, end));
    this.#slabs.push(region.slab);
  }

  /** Gives a detached region back unsent. */
  drop(region: Region): void {
    this.#unreference(region.slab);
  }

  /** Sends bytes of the caller's own buffer, borrowed until `whenSent` says so. */
  sendOwn(bytes: Uint8Array): void {
    this.#seal();
    this.#push(bytes);
  }

  /**
   * Calls `release` when everything up to here has been sent. Something must just have been added.
   */
  whenSent(release: Release): void {
    this.#seal();
    assert(this.#chunks.length > 0, 'there is something to wait for');
    this.#releases.push(release);
  }

  /** Hands everything to the wire. */
  flush(): void {
    this.#seal();
    if (this.#chunks.length === 0) return;
    const chunks = this.#chunks;
    const slabs = this.#slabs;
    const releases = this.#releases;
    this.#chunks = [];
    this.#slabs = [];
    this.#releases = [];
    const bytes = this.#queuedBytes;
    this.#queuedBytes = 0;
    this.#unsentBytes += bytes;
    this.#wire.send(chunks, () => this.#sent(bytes, slabs, releases));
  }

  #sent(bytes: number, slabs: readonly Slab[], releases: readonly Release[]): void {
    this.#unsentBytes -= bytes;
    this.#memory.forClient(-bytes);
    for (const slab of slabs) this.#unreference(slab);
    for (const release of releases) release();
    // The batch is out and the slab is ours alone: start over in memory that the CPU still has
    // cached.
    if (this.#slab.references === 1 && this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
    this.#onSent();
  }

  /** Gives the slab back. Everything must be flushed; nothing may be reserved afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#start = this.#end;
    this.#unreference(this.#slab);
  }
}

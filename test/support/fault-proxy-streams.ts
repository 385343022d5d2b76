// Bodies on their way through a fault proxy: slowed down, cut, or collected whole.

import type { Socket } from 'node:net';
import { Transform, type Readable } from 'node:stream';

/** One allowance for all connections: each chunk waits for those before it. */
export class Bandwidth {
  bytesPerSecond = 0;
  #freeAtMs = 0;

  /** A stream that passes what it gets, not faster than the allowance. */
  limiter(): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        const waitMs = this.#reserve(chunk.length);
        if (waitMs <= 0) done(null, chunk);
        else setTimeout(() => done(null, chunk), waitMs);
      },
    });
  }

  #reserve(bytes: number): number {
    if (this.bytesPerSecond === 0) return 0;
    const nowMs = performance.now();
    const startMs = Math.max(nowMs, this.#freeAtMs);
    this.#freeAtMs = startMs + (bytes * 1000) / this.bytesPerSecond;
    return this.#freeAtMs - nowMs;
  }
}

/** The error of a stream that was cut on purpose. */
export class Cut extends Error {}

/** Passes `bytes` bytes, then breaks the pipeline that it stands in. */
export function cutter(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (chunk.length < left) {
        left -= chunk.length;
        done(null, chunk);
        return;
      }
      this.push(chunk.subarray(0, left));
      // In a turn of its own, so that what was just passed on gets away first.
      setImmediate(() => done(new Cut('cut')));
    },
  });
}

/** Bodies that are held whole in memory share one bound. */
export class BodyBudget {
  readonly #bytesMax: number;
  #used = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False when there is no room for it now. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.#bytesMax) return false;
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

export async function collect(stream: Readable, bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream) {
    bytes += (part as Buffer).length;
    if (bytes > bytesMax) throw new Error(`a body of more than ${bytesMax} bytes`);
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}

/** A socket that is being shut down cannot be reset any more: it would never close. */
export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

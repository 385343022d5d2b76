// What the benches write: noise that no compressor shrinks, and that can be told again from the
// block's number and how often it was written. So whatever is read back is checked, and a stale or
// a wrong block is found.
//
// A block is a piece of one large pool of AES-CTR output; where it begins is a hash of block and
// version. Nothing is generated or copied per write.

import { createCipheriv } from 'node:crypto';
import { createSeededRng, type Rng } from '../../../src/base/rng.ts';
import type { NbdClient } from './nbd-client.ts';

const POOL_BYTES = 64 * 1024 * 1024;
const STEP_BYTES = 64;
const VERSIONS = 256;

export class Content {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly #pool: Buffer;
  readonly #seed: number;
  readonly #rng: Rng;
  /** Writes of each block, modulo 256, but never 0 once it was written: 0 reads as zeroes. */
  readonly #versions: Uint8Array;
  /** Two writes of one block at one time may be done in either order: never two. */
  readonly #underWay = new Set<number>();

  constructor(sizeBytes: number, blockBytes: number, seed: number) {
    this.blockBytes = blockBytes;
    this.blocks = Math.floor(sizeBytes / blockBytes);
    this.#seed = seed;
    this.#rng = createSeededRng(seed);
    this.#versions = new Uint8Array(this.blocks);
    const key = Buffer.alloc(16, seed);
    const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
    this.#pool = stream.update(Buffer.alloc(POOL_BYTES + blockBytes));
  }

  /** A block of [0, end) that nobody writes now, uniformly. */
  pick(end = this.blocks): number {
    for (;;) {
      const block = Math.floor(this.#rng.float() * end);
      if (!this.#underWay.has(block)) return block;
    }
  }

  /** Writes `count` blocks from `first` on with new content, in one request. */
  async write(client: NbdClient, first: number, count = 1): Promise<void> {
    const parts: Buffer[] = [];
    for (let block = first; block < first + count; block++) {
      const version = this.#versions[block]! + 1;
      this.#versions[block] = version === VERSIONS ? 1 : version;
      this.#underWay.add(block);
      parts.push(this.#expected(block));
    }
    await client.write(first * this.blockBytes, parts);
    for (let block = first; block < first + count; block++) this.#underWay.delete(block);
  }

  /** Throws when the device holds something else than was written last. */
  async verify(client: NbdClient, first: number, count = 1): Promise<void> {
    const got = await client.read(first * this.blockBytes, count * this.blockBytes);
    for (let i = 0; i < count; i++) {
      const data = got.subarray(i * this.blockBytes, (i + 1) * this.blockBytes);
      if (this.#expected(first + i).equals(data)) continue;
      throw new Error(`block ${first + i} of ${this.blockBytes} bytes reads as something else`);
    }
  }

  /** What was written is to read as it did at the time of this call, whatever is written later. */
  remember(): () => void {
    const versions = this.#versions.slice();
    return () => this.#versions.set(versions);
  }

  /** Everything is zeroes again: it was trimmed. */
  forget(): void {
    this.#versions.fill(0);
  }

  #expected(block: number): Buffer {
    const version = this.#versions[block]!;
    if (version === 0) return Buffer.alloc(this.blockBytes);
    let mix = Math.imul(block ^ this.#seed, 0x9e3779b1) ^ Math.imul(version, 0x85ebca77);
    mix = Math.imul(mix ^ (mix >>> 15), 0x2c1b3c6d);
    const at = ((mix ^ (mix >>> 13)) >>> 0) % (POOL_BYTES / STEP_BYTES);
    return this.#pool.subarray(at * STEP_BYTES, at * STEP_BYTES + this.blockBytes);
  }
}

// What targets of stored formats share: one store's keys, a store of one object, bytes that look
// like somebody's.

import { createSeededRng } from '../../src/base/rng.ts';
import { createKeyring, type Keyring } from '../../src/codec/keyring.ts';
import type { CipherName, ObjectSeal } from '../../src/codec/types.ts';
import { resolveRange } from '../../src/objectstore/keys.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { createMemoryStore } from '../../src/objectstore/memory.ts';
import { Finding } from '../target.ts';

export const STORE_ID = '000102030405060708090a0b0c0d0e0f';
export const DATA_KEY = Uint8Array.from({ length: 32 }, (_, i) => i);

/** Seals that a keyring of tests keeps: those of the objects that were not changed. */
const SEALS_MAX = 16;

/** Derives the first keys once: that costs more than most decoders do. */
export function testKeyring(cipher: CipherName = 'chacha20-poly1305'): Keyring {
  const keyring = createKeyring({ dataKey: DATA_KEY, storeId: STORE_ID, cipher });
  const seals = new Map<string, ObjectSeal>();
  return {
    cipher,
    sealFor(name, salt, stated = cipher) {
      const id = `${stated} ${name} ${Buffer.from(salt).toString('latin1')}`;
      const known = seals.get(id);
      if (known !== undefined) return known;
      const seal = keyring.sealFor(name, salt, stated);
      if (seals.size < SEALS_MAX) seals.set(id, seal);
      return seal;
    },
  };
}

export function noise(seed: number, bytes: number): Uint8Array {
  return createSeededRng(seed).bytes(bytes);
}

/** Bytes that compress. */
export function prose(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * i) % 23);
}

/** A store that holds `object` under any name. What reads it may ask for nothing else. */
export function storeOf(object: Uint8Array): ObjectStore {
  return {
    ...createMemoryStore(),
    async get(name, range) {
      const { start, end } = resolveRange(name, range, object.length);
      return { bytes: object.slice(start, end), objectBytes: object.length };
    },
  };
}

/** What a synchronous check of a promise's value throws, comes out of the promise as it is. */
export function never(what: string): never {
  throw new Finding(`not so: ${what}`);
}

/** Takes numbers and parts from an input, in the place of an encoder's arguments. */
export class Arguments {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  u16(): number {
    return this.u8() + this.u8() * 256;
  }

  u32(): number {
    return this.u16() + this.u16() * 65_536;
  }

  /** A u16 of length, then so many bytes, as far as there are. */
  part(): Uint8Array {
    const length = this.u16();
    this.#at = Math.min(this.#at + length, this.#bytes.length);
    return this.#bytes.slice(Math.max(0, this.#at - length), this.#at);
  }

  rest(): Uint8Array {
    const rest = this.#bytes.slice(this.#at);
    this.#at = this.#bytes.length;
    return rest;
  }
}

/** What `Arguments.part` reads. */
export function partOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from([bytes.length & 255, bytes.length >>> 8, ...bytes]);
}

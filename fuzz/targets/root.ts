// What lies in clear at the root of a store: format.json and the heads of key slots. Whoever holds
// the bucket can write them with a digest that fits, so it is made to fit here.

import { createHash } from 'node:crypto';
import { readKeySlot } from '../../src/codec/key-slot.ts';
import { openRoot } from '../../src/engine/store-root.ts';
import { FORMAT_NAME } from '../../src/engine/format/names.ts';
import type { ObjectStore } from '../../src/objectstore/object-store.ts';
import { expect, type Target } from '../target.ts';
import { SLOT_BYTES } from './sealed.ts';
import { STORE_ID, storeOf } from './support.ts';

const DIGEST_BYTES = 32;

/** The last 32 bytes of a key slot are the SHA-256 of the others. */
function mendSlot(slot: Uint8Array): void {
  if (slot.length < DIGEST_BYTES) return;
  const at = slot.length - DIGEST_BYTES;
  slot.set(createHash('sha256').update(slot.subarray(0, at)).digest(), at);
}

function runSlot(input: Uint8Array): void {
  const info = readKeySlot(input);
  expect(info.label.length <= input.length, 'a label lies in its slot');
  expect(info.cost.memoryKiB <= 1024 * 1024, 'a slot takes no more than a gibibyte');
}

/** With the digest of the fields in it, whatever they are. */
function withDigest(text: string): string {
  try {
    const parsed = JSON.parse(text) as Record<string, unknown>;
    const { version, storeId, cipher, compression, createdUnixMs } = parsed;
    const covered = JSON.stringify([version, storeId, cipher, compression, createdUnixMs]);
    const digest = createHash('sha256').update(covered).digest('hex');
    return JSON.stringify({ ...parsed, digest });
  } catch {
    return text;
  }
}

const FORMAT = {
  version: 1,
  storeId: STORE_ID,
  cipher: 'chacha20-poly1305',
  compression: 'lz4',
  createdUnixMs: 1_790_000_000_000,
};

function rootStore(format: string): ObjectStore {
  const slot = storeOf(SLOT_BYTES);
  const bytes = storeOf(new TextEncoder().encode(format));
  return {
    ...slot,
    get: (name, range, options) => (name === FORMAT_NAME ? bytes : slot).get(name, range, options),
    async *list() {
      yield [{ key: 'keys/0', bytes: SLOT_BYTES.length }];
    },
  };
}

/** What was opened must be of use: a first object is sealed with it, as a writer would. */
async function runFormat(input: Uint8Array): Promise<void> {
  const text = withDigest(new TextDecoder().decode(input));
  const { format, keyring } = await openRoot(rootStore(text), 'a passphrase', 'open');
  expect(['lz4', 'zstd', 'none'].includes(format.compression), 'a compression that is known');
  const seal = keyring.sealFor('branches/x/log/1', new Uint8Array(16));
  expect(['chacha20-poly1305', 'aes-256-gcm'].includes(seal.cipher), 'a cipher that is known');
}

export const targets: readonly Target[] = [
  {
    name: 'key-slot',
    kinds: ['corrupt'],
    seeds: () => [SLOT_BYTES],
    mend: mendSlot,
    run: runSlot,
  },
  {
    name: 'format',
    kinds: ['corrupt', 'invalid', 'wrongKey'],
    seeds: () => [new TextEncoder().encode(JSON.stringify(FORMAT))],
    words: ['"__proto__":', '"constructor"', 'null', '[', ']', '{', '}', '1e99', '-1', '""', ','],
    run: runFormat,
  },
];

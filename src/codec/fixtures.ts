// Test vectors of the sealed formats, made from fixed keys, salts and texts. The frozen copy of
// them is test/fixtures/codec/vectors-v1.json: fixtures.test.ts proves that today's code still
// reads it and still writes the same bytes. Bytes are hexadecimal there, so that a decoder in any
// language can use it.

import { createSeededRng } from '../base/rng.ts';
import { sealEnvelope } from './envelope.ts';
import { authenticate, FrameKind, sealedFrameBytesMax, sealFrame } from './frame.ts';
import { createKeySlot } from './key-slot.ts';
import { createKeyring } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import { TAG_BYTES } from './types.ts';
import type { CipherName, CompressionName } from './types.ts';

export interface FrameVector {
  readonly cipher: CipherName;
  readonly compression: CompressionName;
  readonly objectName: string;
  readonly salt: string;
  readonly kind: FrameKind;
  readonly index: number;
  readonly plain: string;
  readonly sealed: string;
}

export interface TagVector {
  readonly objectName: string;
  readonly salt: string;
  readonly kind: FrameKind;
  readonly index: number;
  readonly clear: string;
  readonly tag: string;
}

export interface EnvelopeVector {
  readonly magic: string;
  readonly version: number;
  readonly name: string;
  readonly plain: string;
  readonly object: string;
}

export interface SlotVector {
  readonly passphrase: string;
  readonly label: string;
  readonly createdUnixMs: number;
  readonly slot: string;
}

export interface CodecVectors {
  readonly dataKey: string;
  readonly storeId: string;
  readonly frames: readonly FrameVector[];
  readonly tags: readonly TagVector[];
  readonly envelopes: readonly EnvelopeVector[];
  readonly slots: readonly SlotVector[];
}

export function vectorKeyring(vectors: Pick<CodecVectors, 'dataKey' | 'storeId'>): Keyring {
  const dataKey = fromHex(vectors.dataKey);
  return createKeyring({ dataKey, storeId: vectors.storeId, cipher: 'chacha20-poly1305' });
}

/** What today's code makes of the fixed inputs. */
export async function makeVectors(): Promise<CodecVectors> {
  const rng = createSeededRng(2026);
  const dataKey = rng.bytes(32);
  const storeId = '6f1d2c3b-varve-test';
  const keyring = vectorKeyring({ dataKey: toHex(dataKey), storeId });
  const salt = toHex(rng.bytes(16));
  return {
    dataKey: toHex(dataKey),
    storeId,
    frames: frameVectors(keyring, salt),
    tags: [tagVector(keyring, salt)],
    envelopes: envelopeVectors(keyring),
    slots: await slotVectors(dataKey, storeId),
  };
}

function frameVectors(keyring: Keyring, salt: string): FrameVector[] {
  const text = new TextEncoder().encode('one layer of sediment, one year; '.repeat(8));
  const vectors: FrameVector[] = [];
  for (const cipher of ['chacha20-poly1305', 'aes-256-gcm'] as const) {
    for (const compression of ['none', 'lz4', 'zstd'] as const) {
      const objectName = 'branches/main/log/42';
      const seal = keyring.sealFor(objectName, fromHex(salt), cipher);
      // The second index needs more than 32 bits; the empty text is a frame too.
      for (const [index, plain] of [
        [0, text] as const,
        [2 ** 33 + 5, new Uint8Array(0)] as const,
      ]) {
        const target = new Uint8Array(sealedFrameBytesMax(plain.length));
        const kind = FrameKind.data;
        const length = sealFrame(seal, kind, index, compression, plain, target, 0);
        const sealed = toHex(target.subarray(0, length));
        const header = { cipher, compression, objectName, salt, kind, index };
        vectors.push({ ...header, plain: toHex(plain), sealed });
      }
    }
  }
  return vectors;
}

function tagVector(keyring: Keyring, salt: string): TagVector {
  const header = { objectName: 'branches/main/log/42', salt, kind: FrameKind.footer, index: 0 };
  const clear = new TextEncoder().encode('a footer stays in clear');
  const tag = new Uint8Array(TAG_BYTES);
  const seal = keyring.sealFor(header.objectName, fromHex(salt));
  authenticate(seal, header.kind, header.index, clear, tag);
  return { ...header, clear: toHex(clear), tag: toHex(tag) };
}

function envelopeVectors(keyring: Keyring): EnvelopeVector[] {
  const identity = { magic: 'VARVTEST', version: 258, name: 'branches/main/manifest/7' };
  const plain = new TextEncoder().encode('tables and snapshots; '.repeat(6));
  return (['none', 'lz4'] as const).map((compression) => {
    const object = sealEnvelope(keyring, createSeededRng(7), identity, plain, compression);
    return { ...identity, plain: toHex(plain), object: toHex(object) };
  });
}

async function slotVectors(dataKey: Uint8Array, storeId: string): Promise<SlotVector[]> {
  const words = { passphrase: 'cafe\u0301 au lait', label: 'laptop \u2013 2026' };
  const createdUnixMs = 1_790_000_000_000;
  const cost = { memoryKiB: 64, passes: 2, parallelism: 2 };
  const request = { dataKey, storeId, ...words, createdUnixMs, cost };
  const { bytes } = await createKeySlot(createSeededRng(8), request);
  return [{ ...words, createdUnixMs, slot: toHex(bytes) }];
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

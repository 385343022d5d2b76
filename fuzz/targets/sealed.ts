// Sealed objects, as whoever holds the bucket could change them: whatever is not what was sealed is
// `corrupt`, without exception.

import { createSeededRng } from '../../src/base/rng.ts';
import { openEnvelope, sealEnvelope } from '../../src/codec/envelope.ts';
import { FrameKind, openFrame, sealedFrameBytesMax, sealFrame } from '../../src/codec/frame.ts';
import { createKeySlot, openKeySlot } from '../../src/codec/key-slot.ts';
import type { CompressionName } from '../../src/codec/types.ts';
import { FOOTER_BYTES, writeFooter } from '../../src/engine/format/log-object.ts';
import { encodeFence, RECORD_FENCE } from '../../src/engine/format/records.ts';
import { openTail } from '../../src/engine/log/object-tail.ts';
import { chunkKey, segmentKey } from '../../src/engine/format/keys.ts';
import { createTableBuilder } from '../../src/engine/table/builder.ts';
import { decodeTail } from '../../src/engine/table/tail.ts';
import { TABLE_DEFAULTS } from '../../src/engine/table/settings.ts';
import { createInlineSealer } from '../../src/codec/sealer.ts';
import { systemClock } from '../../src/base/system.ts';
import { expect, expectSealed, type Target } from '../target.ts';
import { DATA_KEY, noise, prose, STORE_ID, storeOf, testKeyring } from './support.ts';

const keyring = testKeyring();
const NAME = 'branches/0a0b0c0d0e0f/log/000000000007';
const IDENTITY = { magic: 'VARVEMAN', version: 2, name: NAME };
const SALT = noise(3, 16);
const seal = keyring.sealFor(NAME, SALT);

function sealFrameOf(compression: CompressionName, plain: Uint8Array): Uint8Array {
  const target = new Uint8Array(sealedFrameBytesMax(plain.length));
  return target.slice(0, sealFrame(seal, FrameKind.data, 3, compression, plain, target, 0));
}

const FRAMES = [
  sealFrameOf('none', new Uint8Array(0)),
  sealFrameOf('none', noise(1, 30)),
  sealFrameOf('lz4', prose(500)),
  sealFrameOf('zstd', prose(500)),
];

const ENVELOPES = [
  sealEnvelope(keyring, createSeededRng(1), IDENTITY, new Uint8Array(0), 'none'),
  sealEnvelope(keyring, createSeededRng(2), IDENTITY, prose(300), 'lz4'),
];

/** A log object: a data frame, its record, a footer. */
export function logObject(
  data: Uint8Array,
  plainRecord: Uint8Array,
  claims: { readonly recordBytes?: number; readonly objectBytes?: number } = {},
): Uint8Array {
  const sealed = new Uint8Array(sealedFrameBytesMax(plainRecord.length));
  const length = sealFrame(seal, FrameKind.records, 0, 'lz4', plainRecord, sealed, 0);
  const object = new Uint8Array(data.length + length + FOOTER_BYTES);
  object.set(data, 0);
  object.set(sealed.subarray(0, length), data.length);
  const footer = {
    cipher: seal.cipher,
    salt: SALT,
    recordBytes: claims.recordBytes ?? length,
    objectBytes: claims.objectBytes ?? object.length,
  };
  writeFooter(object, data.length + length, footer, seal);
  return object;
}

/** What reads the end of a log object does not look at its data. */
export function openLog(object: Uint8Array): ReturnType<typeof openTail> {
  return openTail({ store: storeOf(object), keyring }, NAME, 'open');
}

const LOGS = [
  logObject(new Uint8Array(0), encodeFence({ type: RECORD_FENCE, epoch: 2, resumeAt: 9 })),
];

const TABLE_NAME = 'branches/0a0b0c0d0e0f/tables/0000000000000007';

async function tableTail(): Promise<{
  bytes: Uint8Array;
  descriptor: Parameters<typeof decodeTail>[1];
}> {
  const deps = {
    sealer: createInlineSealer(),
    keyring,
    rng: createSeededRng(4),
    clock: systemClock,
  };
  const builder = createTableBuilder(deps, TABLE_DEFAULTS, 7, TABLE_NAME);
  for (let i = 0; i < 40; i++) builder.add(chunkKey(17, i), noise(i, 20));
  builder.add(segmentKey(3), noise(3, 40));
  const { body, descriptor } = await builder.finish();
  const whole = Buffer.concat(body);
  return {
    bytes: new Uint8Array(whole.subarray(whole.length - descriptor.tailBytes)),
    descriptor,
  };
}

const TABLE = await tableTail();

const PASSPHRASE = 'a passphrase';
const SLOT = await createKeySlot(createSeededRng(5), {
  dataKey: DATA_KEY,
  passphrase: PASSPHRASE,
  storeId: STORE_ID,
  label: 'initial',
  createdUnixMs: 1_790_000_000_000,
  cost: { memoryKiB: 8, passes: 1, parallelism: 1 },
});

export const SLOT_BYTES = SLOT.bytes;

async function expectSealedLater(
  input: Uint8Array,
  originals: readonly Uint8Array[],
  work: Promise<unknown>,
): Promise<void> {
  await work;
  const own = originals.some((one) => Buffer.compare(one, input) === 0);
  expect(own, 'bytes that nobody sealed are refused');
}

export const targets: readonly Target[] = [
  {
    name: 'sealed-envelope',
    kinds: ['corrupt'],
    seeds: () => ENVELOPES,
    run: (input) =>
      expectSealed(input, ENVELOPES, (bytes) =>
        openEnvelope(keyring, { ...IDENTITY, versions: [1, 2] }, bytes),
      ),
  },
  {
    name: 'sealed-frame',
    kinds: ['corrupt'],
    seeds: () => FRAMES,
    run: (input) =>
      expectSealed(input, FRAMES, (bytes) => openFrame(seal, FrameKind.data, 3, bytes, 65_536)),
  },
  {
    name: 'sealed-log',
    kinds: ['corrupt'],
    seeds: () => LOGS,
    // Data in front of the record are not looked at, but the footer knows the length of all.
    run: (input) => expectSealedLater(input, LOGS, openLog(input)),
  },
  {
    name: 'sealed-table',
    kinds: ['corrupt'],
    seeds: () => [TABLE.bytes],
    run: (input) =>
      expectSealed(input, [TABLE.bytes], (bytes) =>
        decodeTail(bytes, TABLE.descriptor, TABLE_NAME, keyring),
      ),
  },
  {
    name: 'sealed-key-slot',
    kinds: ['corrupt', 'wrongKey'],
    seeds: () => [SLOT.bytes],
    run: (input) =>
      expectSealedLater(input, [SLOT.bytes], openKeySlot(input, PASSPHRASE, STORE_ID)),
  },
];

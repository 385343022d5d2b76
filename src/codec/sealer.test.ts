// What every sealer must do, run against each implementation and each way of handing it memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { createSeededRng } from '../base/rng.ts';
import { FrameKind } from './frame.ts';
import { createKeyring } from './keyring.ts';
import { createSealerPool } from './sealer-pool.ts';
import { createInlineSealer, sealedBytesMax } from './sealer.ts';
import type { Sealer } from './sealer.ts';
import { allocateShared } from './shared.ts';
import type { CompressionName } from './types.ts';

const keyring = createKeyring({
  dataKey: new Uint8Array(32).fill(5),
  storeId: 'store',
  cipher: 'chacha20-poly1305',
});
const seal = keyring.sealFor('log/1', new Uint8Array(16));
const header = { seal, kind: FrameKind.data, firstIndex: 7 } as const;

type Allocate = (bytes: number) => Uint8Array;
const ownMemory: Allocate = (bytes) => new Uint8Array(bytes);

/** Frames of mixed lengths (some empty, one above a share), compressible and not. */
function sample(allocate: Allocate): { source: Uint8Array; plainLengths: Uint32Array } {
  const rng = createSeededRng(3);
  const lengths = Array.from({ length: 60 }, (_, i) => (i % 7 === 0 ? 0 : 1000 * i + (i % 5)));
  lengths.push(1_300_000, 65_536, 0);
  const plainLengths = Uint32Array.from(lengths);
  const source = allocate(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const [i, length] of lengths.entries()) {
    if (i % 3 === 0) source.set(rng.bytes(length), at);
    else source.fill(i, at, at + length);
    at += length;
  }
  return { source, plainLengths };
}

function total(lengths: Uint32Array): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}

/** What sealing on one thread gives: every implementation must give the same bytes. */
async function reference(compression: CompressionName): Promise<Uint8Array> {
  const { source, plainLengths } = sample(ownMemory);
  const target = new Uint8Array(sealedBytesMax(plainLengths));
  const job = { ...header, compression, source, plainLengths, target };
  return target.slice(0, total(await createInlineSealer().seal(job)));
}

async function roundTrip(sealer: Sealer, from: Allocate, to: Allocate): Promise<void> {
  for (const compression of ['none', 'lz4', 'zstd'] as const) {
    const { source, plainLengths } = sample(from);
    const target = to(sealedBytesMax(plainLengths) + 5);
    const job = { ...header, compression, source, plainLengths, target };
    const sealedLengths = await sealer.seal(job);
    const sealed = target.subarray(0, total(sealedLengths));
    assert.ok(Buffer.from(await reference(compression)).equals(sealed), compression);
    const back = from(source.length);
    const opened = await sealer.unseal({ ...header, sealed, sealedLengths, target: back });
    assert.deepEqual(opened, plainLengths);
    assert.ok(Buffer.from(back).equals(source), compression);
  }
}

async function refusals(sealer: Sealer): Promise<void> {
  const { source, plainLengths } = sample(allocateShared);
  const target = allocateShared(sealedBytesMax(plainLengths));
  const job = { ...header, compression: 'lz4', source, plainLengths, target } as const;
  const sealedLengths = await sealer.seal(job);
  const sealed = target.subarray(0, total(sealedLengths));
  const back = allocateShared(source.length);
  const open = { ...header, sealed, sealedLengths, target: back };
  const refused = (change: Partial<typeof open>, pattern: RegExp): Promise<void> =>
    assert.rejects(
      sealer.unseal({ ...open, ...change }),
      (error) => isStorageError(error, 'corrupt') && pattern.test(error.message),
    );
  await refused({ target: back.subarray(1) }, /data frame 68 of log\/1 claims 65536/);
  const last = sealed.length - 1;
  sealed[last]! ^= 1;
  await refused({}, /data frame 69 of log\/1 fails authentication/);
  sealed[last]! ^= 1;
  // A length in a header that lies must not shift the frames after it unnoticed.
  sealed[1]! ^= 1;
  await refused({}, /frame 7 of log\/1/);
  sealed[1]! ^= 1;
  const short = Uint32Array.from(sealedLengths);
  short[0]! -= 1;
  short[1]! += 1;
  await refused({ sealedLengths: short }, /frame 7 of log\/1 has only 19 bytes/);
  await assert.rejects(sealer.seal({ ...job, plainLengths: plainLengths.subarray(2) }), /add up/);
  await assert.rejects(sealer.seal({ ...job, target: target.subarray(1) }), /room to seal/);
  await assert.rejects(sealer.unseal({ ...open, sealed: target }), /add up/);
  // After all that, the sealer still works.
  assert.deepEqual(await sealer.unseal(open), plainLengths);
}

const noFrames = new Uint32Array(0);
const sealers: Readonly<Record<string, () => Sealer>> = {
  'the inline sealer': createInlineSealer,
  'a pool of one': () => createSealerPool({ threads: 1, inlineBytesMax: 0, log: silentLog }),
  'a pool of three': () => createSealerPool({ threads: 3, inlineBytesMax: 0, log: silentLog }),
};

for (const [name, create] of Object.entries(sealers)) {
  test(`${name} gives what one thread gives, on shared memory and on own memory`, async () => {
    const sealer = create();
    await roundTrip(sealer, allocateShared, allocateShared);
    await roundTrip(sealer, ownMemory, ownMemory);
    await roundTrip(sealer, ownMemory, allocateShared);
    await roundTrip(sealer, allocateShared, ownMemory);
    await sealer.close();
  });

  test(`${name} refuses altered frames and impossible jobs, and goes on`, async () => {
    const sealer = create();
    await refusals(sealer);
    await sealer.close();
  });

  test(`${name} does a job without frames, and none once closed`, async () => {
    const sealer = create();
    const source = new Uint8Array(0);
    const target = new Uint8Array(0);
    const job = { ...header, compression: 'lz4', source, plainLengths: noFrames, target } as const;
    assert.deepEqual(await sealer.seal(job), noFrames);
    const open = { ...header, sealed: source, sealedLengths: noFrames, target };
    assert.deepEqual(await sealer.unseal(open), noFrames);
    await sealer.close();
    await sealer.close();
    await assert.rejects(sealer.seal(job), (error) => isStorageError(error, 'aborted'));
    await assert.rejects(sealer.unseal(open), (error) => isStorageError(error, 'aborted'));
  });
}

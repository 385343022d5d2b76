// Megabytes of plaintext per second: frames one by one, and whole segments inline and over the
// pool. Run with `node src/codec/codec.bench.ts [seconds per figure]`.

import { silentLog } from '../base/log.ts';
import { createSeededRng } from '../base/rng.ts';
import { FrameKind, sealedFrameBytesMax, sealFrame, unsealFrame } from './frame.ts';
import { createKeyring } from './keyring.ts';
import { createSealerPool } from './sealer-pool.ts';
import { createInlineSealer, sealedBytesMax } from './sealer.ts';
import type { Sealer } from './sealer.ts';
import { allocateShared } from './shared.ts';
import type { CipherName, CompressionName, ObjectSeal } from './types.ts';

const CIPHERS: readonly CipherName[] = ['chacha20-poly1305', 'aes-256-gcm'];
const COMPRESSIONS: readonly CompressionName[] = ['none', 'lz4', 'zstd'];
const FRAME_BYTES = 65_536;
const SEGMENT_BYTES = 8 * 2 ** 20;

const secondsPerFigure = Number(process.argv[2] ?? 0.3);
const keyring = createKeyring({
  dataKey: new Uint8Array(32).fill(7),
  storeId: 'bench',
  cipher: 'chacha20-poly1305',
});

/** Text of skewed words and numbers: like a database page, it shrinks to about half. */
function sampleBytes(target: Uint8Array): Uint8Array {
  const rng = createSeededRng(1);
  const words = Array.from({ length: 400 }, () => Buffer.from(rng.bytes(2 + rng.float() * 9)));
  let at = 0;
  while (at < target.length) {
    const word = words[Math.floor(rng.float() ** 2 * words.length)]!;
    const part = word.subarray(0, target.length - at);
    target.set(part, at);
    at += part.length;
  }
  return target;
}

function sealOf(cipher: CipherName): ObjectSeal {
  return keyring.sealFor('log/1', new Uint8Array(16), cipher);
}

/** Bytes per microsecond of a synchronous call. */
function rate(bytes: number, call: () => void): string {
  for (let i = 0; i < 20; i++) call();
  const begin = performance.now();
  let calls = 0;
  while (performance.now() - begin < secondsPerFigure * 1000) {
    call();
    calls += 1;
  }
  return ((bytes * calls) / (performance.now() - begin) / 1000).toFixed(0);
}

function benchFrames(): void {
  const rows: Record<string, string | number>[] = [];
  for (const bytes of [4096, 16_384, 65_536, 262_144]) {
    for (const cipher of CIPHERS) {
      for (const compression of COMPRESSIONS) {
        const seal = sealOf(cipher);
        const plain = sampleBytes(new Uint8Array(bytes));
        const target = new Uint8Array(sealedFrameBytesMax(bytes));
        const out = new Uint8Array(bytes);
        const once = (): number =>
          sealFrame(seal, FrameKind.data, 0, compression, plain, target, 0);
        const sealed = target.subarray(0, once());
        const sealing = rate(bytes, once);
        const opening = rate(bytes, () => unsealFrame(seal, FrameKind.data, 0, sealed, out, 0));
        const ratio = (sealed.length / bytes).toFixed(2);
        rows.push({
          bytes,
          cipher,
          compression,
          ratio,
          'seal MB/s': sealing,
          'open MB/s': opening,
        });
      }
    }
  }
  console.table(rows);
}

async function rateOfJobs(
  bytes: number,
  atOnce: number,
  job: () => Promise<void>,
): Promise<string> {
  await Promise.all(Array.from({ length: atOnce }, job));
  const begin = performance.now();
  let jobs = 0;
  while (performance.now() - begin < secondsPerFigure * 2000) {
    await Promise.all(Array.from({ length: atOnce }, job));
    jobs += atOnce;
  }
  return ((bytes * jobs) / (performance.now() - begin) / 1000).toFixed(0);
}

interface Arrangement {
  readonly name: string;
  readonly sealer: Sealer;
  readonly shared: boolean;
  readonly atOnce: number;
}

async function benchSegments({ name, sealer, shared, atOnce }: Arrangement): Promise<void> {
  const allocate = (bytes: number): Uint8Array =>
    shared ? allocateShared(bytes) : new Uint8Array(bytes);
  const rows: Record<string, string | number>[] = [];
  for (const segment of [65_536, 131_072, 524_288, SEGMENT_BYTES]) {
    for (const compression of COMPRESSIONS) {
      const seal = sealOf('chacha20-poly1305');
      const plainLengths = new Uint32Array(segment / FRAME_BYTES).fill(FRAME_BYTES);
      const source = sampleBytes(allocate(segment));
      const header = { seal, kind: FrameKind.data, firstIndex: 0 } as const;
      // Each concurrent job writes its own target, as segments do.
      const targets = Array.from({ length: atOnce }, () => allocate(sealedBytesMax(plainLengths)));
      let turn = 0;
      const sealing = await rateOfJobs(segment, atOnce, async () => {
        const target = targets[turn++ % atOnce]!;
        await sealer.seal({ ...header, compression, source, plainLengths, target });
      });
      const target = targets[0]!;
      const sealedLengths = await sealer.seal({
        ...header,
        compression,
        source,
        plainLengths,
        target,
      });
      const sealed = target.subarray(
        0,
        sealedLengths.reduce((sum, length) => sum + length, 0),
      );
      const outs = Array.from({ length: atOnce }, () => allocate(segment));
      const opening = await rateOfJobs(segment, atOnce, async () => {
        await sealer.unseal({ ...header, sealed, sealedLengths, target: outs[turn++ % atOnce]! });
      });
      rows.push({ segment, compression, 'seal MB/s': sealing, 'open MB/s': opening });
    }
  }
  console.log(`${name}, frames of 64 KiB, ChaCha20-Poly1305`);
  console.table(rows);
}

function residentMiB(): number {
  return process.memoryUsage().rss / 2 ** 20;
}

async function main(): Promise<void> {
  const begin = performance.now();
  for (let i = 0; i < 20_000; i++) sealOf('chacha20-poly1305');
  console.log(`sealFor: ${((performance.now() - begin) / 20).toFixed(1)} µs`);
  benchFrames();
  const inline = createInlineSealer();
  await benchSegments({ name: 'inline', sealer: inline, shared: false, atOnce: 1 });
  const before = residentMiB();
  const threads = 2;
  const pool = createSealerPool({ threads, inlineBytesMax: 0, log: silentLog });
  const segments = { sealer: pool, shared: true } as const;
  await benchSegments({ name: 'pool of 2, shared, 1 at once', ...segments, atOnce: 1 });
  await benchSegments({ name: 'pool of 2, shared, 4 at once', ...segments, atOnce: 4 });
  const after = residentMiB();
  await benchSegments({
    name: 'pool of 2, staged, 1 at once',
    sealer: pool,
    shared: false,
    atOnce: 1,
  });
  console.log(
    `resident: ${before.toFixed(0)} MiB inline, ${after.toFixed(0)} MiB with two threads`,
  );
  await pool.close();
}

await main();

// Compression of one frame. Synchronous: it runs in a sealing thread, or inline for small frames.
//
//   lz4   u32 LE plaintext length ‖ one LZ4 block        (what lz4-napi reads and writes)
//   zstd  one Zstandard frame, level 1
//   none  the plaintext itself
//
// A compressed form is kept only when it saves at least 1/16: less would not pay for the work of
// reading it. Large inputs are probed first: LZ4 goes at some 170 MB/s here, sealing at over a
// gigabyte, so data that does not shrink would spend nine tenths of its time in vain.

import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import lz4 from 'lz4-napi';
import type { CompressionName } from './types.ts';

/** Shorter inputs cannot win: the overhead of both formats is in the tens of bytes. */
const COMPRESS_BYTES_MIN = 64;

/** 1/16 must be saved. */
const SAVING_SHIFT = 4;

/** Probed from the start to the end; one slice that shrinks is enough to go on. */
const PROBE_BYTES = 1024;
const PROBES = 4;
/** From here on a probe costs less than it can save. */
const PROBED_BYTES_MIN = 32 * 1024;
/** A slice counts as shrinking when it saves 1/32: it sees less of the data's repetitions. */
const PROBE_SAVING_SHIFT = 5;

const LZ4_PREFIX_BYTES = 4;

/**
 * Output is collected in chunks and then joined; one spare byte past the end avoids a second chunk.
 */
const CHUNK_SPARE_BYTES = 1;

/** The least chunk that node:zlib accepts. */
const CHUNK_BYTES_MIN = 64;

const ZSTD_LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 } as const;

/** The compressed form, owned by the caller, or undefined when it is not worth keeping. */
export function compress(compression: CompressionName, plain: Uint8Array): Uint8Array | undefined {
  if (compression === 'none' || plain.length < COMPRESS_BYTES_MIN) return undefined;
  if (plain.length >= PROBED_BYTES_MIN && !looksCompressible(plain)) return undefined;
  const packed = compression === 'lz4' ? lz4.compressSync(asBuffer(plain)) : zstdCompress(plain);
  const packedBytesMax = plain.length - (plain.length >>> SAVING_SHIFT);
  return packed.length <= packedBytesMax ? packed : undefined;
}

function looksCompressible(plain: Uint8Array): boolean {
  for (let probe = 0; probe < PROBES; probe++) {
    const at = Math.floor(((plain.length - PROBE_BYTES) * probe) / (PROBES - 1));
    const slice = plain.subarray(at, at + PROBE_BYTES);
    const packed = lz4.compressSync(asBuffer(slice));
    if (packed.length <= PROBE_BYTES - (PROBE_BYTES >>> PROBE_SAVING_SHIFT)) return true;
  }
  return false;
}

/**
 * The `plainLength` bytes that `packed` stands for, owned by the caller, or undefined when it does
 * not hold exactly that many. Never allocates for more than `plainLength` bytes, whatever `packed`
 * claims.
 */
export function decompress(
  compression: 'lz4' | 'zstd',
  packed: Uint8Array,
  plainLength: number,
): Uint8Array | undefined {
  if (compression === 'lz4' && !claimsLength(packed, plainLength)) return undefined;
  let plain: Uint8Array;
  try {
    plain =
      compression === 'lz4' ? lz4.uncompressSync(packed) : zstdDecompress(packed, plainLength);
  } catch {
    // Both decoders throw only for malformed or overlong input.
    return undefined;
  }
  return plain.length === plainLength ? plain : undefined;
}

function claimsLength(packed: Uint8Array, plainLength: number): boolean {
  if (packed.length < LZ4_PREFIX_BYTES) return false;
  const view = new DataView(packed.buffer, packed.byteOffset, LZ4_PREFIX_BYTES);
  return view.getUint32(0, true) === plainLength;
}

function zstdCompress(plain: Uint8Array): Uint8Array {
  return zstdCompressSync(plain, {
    params: ZSTD_LEVEL,
    chunkSize: Math.max(CHUNK_BYTES_MIN, plain.length + CHUNK_SPARE_BYTES),
  });
}

function zstdDecompress(packed: Uint8Array, plainLength: number): Uint8Array {
  return zstdDecompressSync(packed, {
    maxOutputLength: Math.max(1, plainLength),
    chunkSize: Math.max(CHUNK_BYTES_MIN, plainLength + CHUNK_SPARE_BYTES),
  });
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

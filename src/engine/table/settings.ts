// What can be tuned about tables, and the limits that cannot.

import type { CompressionName } from '../../codec/types.ts';

export interface TableSettings {
  /** Plaintext bytes at which a block is cut. One cold lookup reads one block. */
  readonly blockBytes: number;
  /** Filter size. 10 bits give about 1 % false positives; 0 builds no filter. */
  readonly filterBitsPerKey: number;
  readonly compression: CompressionName;
  /** Plaintext bytes handed to the sealer at once while a table is built. */
  readonly sealBytes: number;
  /** Plaintext bytes at which a run goes on in another table. At most TABLE_BYTES_MAX. */
  readonly tableBytes: number;
  /** Sealed bytes that a scan fetches by one ranged GET. */
  readonly scanBytes: number;
  /** Sealed bytes that a preload fetches by one ranged GET. */
  readonly preloadBytes: number;
}

export const TABLE_DEFAULTS: TableSettings = {
  blockBytes: 16 * 1024,
  filterBitsPerKey: 10,
  compression: 'lz4',
  sealBytes: 1024 * 1024,
  tableBytes: 4 * 1024 * 1024,
  scanBytes: 256 * 1024,
  preloadBytes: 8 * 1024 * 1024,
};

/** Plaintext of a table. Keeps index and filter below the 16 MiB that one sealed frame can hold. */
export const TABLE_BYTES_MAX = 32 * 1024 * 1024;

/** A key plus its value: an entry is never split, so it must fit one sealed frame with ease. */
export const ENTRY_BYTES_MAX = 1024 * 1024;

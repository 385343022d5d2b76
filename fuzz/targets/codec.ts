// The decompressors. They see only authentic bytes, but they are not ours, and one is native.
//
//   u8 format │ u16 length of the plaintext │ packed bytes

import { compress, decompress } from '../../src/codec/compression.ts';
import { expect, type Target } from '../target.ts';
import { Arguments, prose } from './support.ts';

function seed(format: 'lz4' | 'zstd', plain: Uint8Array): Uint8Array {
  const packed = compress(format, plain) ?? new Uint8Array(0);
  const { length } = plain;
  return Uint8Array.from([format === 'lz4' ? 0 : 1, length & 255, length >>> 8, ...packed]);
}

function run(input: Uint8Array): void {
  const given = new Arguments(input);
  const format = given.u8() % 2 === 0 ? 'lz4' : 'zstd';
  const length = given.u16();
  const plain = decompress(format, given.rest(), length);
  expect(plain === undefined || plain.length === length, 'a text has the length that was stated');
}

export const targets: readonly Target[] = [
  {
    name: 'compression',
    kinds: [],
    seeds: () => [seed('lz4', prose(800)), seed('zstd', prose(800)), seed('zstd', prose(65_000))],
    run,
  },
];

// Two frozen tables of format version 1, and how they were made. Today's code must read them for
// ever. Run this file to write them; a new version gets new files beside these, which stay as they
// are.

import { writeFile } from 'node:fs/promises';
import { createKeyring } from '../../codec/keyring.ts';
import type { Keyring } from '../../codec/keyring.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import type { CipherName, CompressionName } from '../../codec/types.ts';
import { createTableBuilder } from './builder.ts';
import type { FinishedTable } from './builder.ts';
import type { Entry } from './cursor.ts';
import { TABLE_DEFAULTS } from './settings.ts';
import { chunkLikeKey, frozenClock } from './testing.ts';

export interface TableFixture {
  readonly id: number;
  readonly objectName: string;
  readonly cipher: CipherName;
  readonly compression: CompressionName;
  /** From here, in test/fixtures/table/. */
  readonly file: URL;
}

function fixture(id: number, cipher: CipherName, compression: CompressionName): TableFixture {
  const objectName = `branches/fixture/tables/${String(id).padStart(16, '0')}`;
  const path = `../../../test/fixtures/table/v1-${cipher}-${compression}.bin`;
  return { id, objectName, cipher, compression, file: new URL(path, import.meta.url) };
}

export const TABLE_FIXTURES: readonly TableFixture[] = [
  fixture(1, 'chacha20-poly1305', 'none'),
  fixture(2, 'aes-256-gcm', 'lz4'),
];

/** Chunk-like keys in two files, a long key, an empty value, a value longer than a block. */
export function fixtureEntries(): Entry[] {
  const entries: Entry[] = [{ key: new Uint8Array(0), value: Uint8Array.of(1) }];
  for (let i = 0; i < 60; i++) {
    const value = new Uint8Array(i % 7).fill(i);
    entries.push({ key: chunkLikeKey(1 + Math.floor(i / 40), i * 3), value });
  }
  entries.push({ key: new Uint8Array(40).fill(3), value: new Uint8Array(700).fill(9) });
  return entries;
}

export function fixtureKeyring(cipher: CipherName): Keyring {
  const dataKey = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
  return createKeyring({ dataKey, storeId: 'fixture-store', cipher });
}

export function buildFixture(from: TableFixture): Promise<FinishedTable> {
  const settings = { ...TABLE_DEFAULTS, blockBytes: 256, compression: from.compression };
  const deps = {
    keyring: fixtureKeyring(from.cipher),
    sealer: createInlineSealer(),
    clock: frozenClock,
    rng: { bytes: (count: number) => new Uint8Array(count).fill(0x5a), float: () => 0 },
  };
  const builder = createTableBuilder(deps, settings, from.id, from.objectName);
  for (const { key, value } of fixtureEntries()) builder.add(key, value);
  return builder.finish();
}

if (import.meta.main) {
  for (const one of TABLE_FIXTURES) {
    const { body } = await buildFixture(one);
    // `wx`: what is frozen is never overwritten.
    await writeFile(one.file, Buffer.concat(body), { flag: 'wx' });
  }
}

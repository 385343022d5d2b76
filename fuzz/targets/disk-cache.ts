// Slab files, as a disk may give them back: raw, and with sums that were made to fit, so that what
// lies behind them is reached. Whatever is loaded must lie within its file.

import { crc32 } from 'node:zlib';
import { layoutOf } from '../../src/cache/disk/layout.ts';
import { MemoryDisk } from '../../src/cache/disk/memory-disk.ts';
import {
  bytesOf,
  CELL_BYTES,
  CELL_WORDS,
  encodeDirectory,
  encodeHeader,
  finishRecord,
  PROBATION,
  slabName,
  sumOf,
} from '../../src/cache/disk/slab-format.ts';
import { loadSlabs } from '../../src/cache/disk/slab-loader.ts';
import { expect, type Target } from '../target.ts';
import { noise } from './support.ts';

const LAYOUT = layoutOf(8 * 256 * 1024, 256 * 1024);
const HEADER = { kind: PROBATION, sequence: 7, generationLow: 11, generationHigh: 22 } as const;

async function run(input: Uint8Array): Promise<void> {
  const disk = new MemoryDisk();
  disk.files.set(slabName(0), input);
  const slabs = await loadSlabs(disk, 'cache', LAYOUT);
  expect(slabs.length === (disk.files.has(slabName(0)) ? 1 : 0), 'a slab is loaded, or removed');
  for (const slab of slabs) {
    expect(slab.count <= LAYOUT.entriesMax, 'a slab has no more entries than its layout allows');
    const { length } = disk.files.get(slabName(0))!;
    for (let i = 0; i < slab.count; i++) {
      const end = slab.offset(i) + slab.length(i);
      expect(slab.offset(i) >= CELL_BYTES && end <= length, 'an entry lies within its file');
    }
    await slab.file.close();
  }
  expect(disk.openFiles === 0, 'every file is closed');
}

/** A slab of two records; with its directory when it is `full`. */
function slabSeed(full: boolean): Uint8Array {
  const parts: Uint8Array[] = [bytesOf(encodeHeader(HEADER))];
  const entries: number[] = [];
  let at = CELL_BYTES;
  for (const count of [1, 2]) {
    const cells = new Uint32Array((1 + count) * CELL_WORDS);
    const bodies: Uint8Array[] = [];
    let end = at + cells.byteLength;
    for (let i = 0; i < count; i++) {
      const body = noise(i, 20 + i);
      cells.set([1, 2, i, end, body.length, sumOf(body)], (1 + i) * CELL_WORDS);
      bodies.push(body);
      end += body.length;
    }
    entries.push(...cells.subarray(CELL_WORDS));
    finishRecord(cells, HEADER, end - at - cells.byteLength);
    parts.push(bytesOf(cells), ...bodies);
    at = end;
  }
  if (full) parts.push(bytesOf(encodeDirectory(Uint32Array.from(entries), HEADER, at)));
  return new Uint8Array(Buffer.concat(parts));
}

/** The sums of the header, of the records from the front, and of the directory, as they must be. */
function mend(file: Uint8Array): void {
  if (file.length < CELL_BYTES) return;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const mendCell = (at: number, before: number): void =>
    view.setUint32(at + 20, crc32(file.subarray(at, at + 20), before), true);
  mendCell(0, 0);
  let at = CELL_BYTES;
  for (let i = 0; i < 8 && at + CELL_BYTES <= file.length; i++) {
    const entriesEnd = at + (1 + view.getUint32(at + 12, true)) * CELL_BYTES;
    if (entriesEnd > file.length) break;
    mendCell(at, crc32(file.subarray(at + CELL_BYTES, entriesEnd)));
    at = entriesEnd + view.getUint32(at + 16, true);
  }
  const trailer = file.length - CELL_BYTES;
  const directory = trailer - view.getUint32(trailer + 12, true) * CELL_BYTES;
  if (directory < CELL_BYTES) return;
  view.setUint32(trailer + 16, directory, true);
  mendCell(trailer, crc32(file.subarray(directory, trailer)));
}

const seeds = (): Uint8Array[] => [slabSeed(false), slabSeed(true)];

export const targets: readonly Target[] = [
  { name: 'disk-cache', kinds: [], seeds, run },
  { name: 'disk-cache-summed', kinds: [], seeds, run, mend },
];

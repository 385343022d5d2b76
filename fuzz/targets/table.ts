// The plaintext of a table's parts: blocks, index, filter.

import { compareBytes } from '../../src/base/bytes.ts';
import { BlockBuilder } from '../../src/engine/table/block-builder.ts';
import { BlockCursor } from '../../src/engine/table/block-cursor.ts';
import { BlockIndex, IndexBuilder } from '../../src/engine/table/block-index.ts';
import { Block } from '../../src/engine/table/block.ts';
import { Filter, FilterBuilder, hashKey } from '../../src/engine/table/bloom.ts';
import { chunkKey, metaKey, segmentKey } from '../../src/engine/format/keys.ts';
import { systemClock } from '../../src/base/system.ts';
import { expect, type Target } from '../target.ts';
import { noise } from './support.ts';

const KEYS = [
  metaKey('volumes'),
  metaKey('volume/a name that is far longer than fifteen bytes'),
  ...Array.from({ length: 40 }, (_, i) => chunkKey(17, i * i)),
  chunkKey(2 ** 40, 2 ** 39),
  segmentKey(5),
  segmentKey(2 ** 37 - 1),
].toSorted(compareBytes);

function blockSeed(count: number, valueBytes: number): Uint8Array {
  const builder = new BlockBuilder(1024);
  for (const key of KEYS.slice(0, count)) builder.add(key, noise(key.length, valueBytes));
  return builder.finish().slice();
}

/** More entries than bytes would be one that goes nowhere. */
function runBlock(input: Uint8Array): void {
  const block = new Block(input, 'table');
  const cursor = new BlockCursor();
  const walk = (): boolean => {
    for (let entries = 0; cursor.next(); entries++) {
      expect(entries < input.length, 'every entry takes a byte');
      expect(cursor.value.length <= input.length, 'a value lies in its block');
    }
    return true;
  };
  const tries = [KEYS[0]!, KEYS[20]!, KEYS.at(-1)!, new Uint8Array(0), input.subarray(0, 9)];
  for (const key of tries) {
    attempt(() => block.get(key));
    attempt(() => {
      cursor.seek(block, key);
      walk();
    });
  }
  cursor.enter(block);
  walk();
}

/** One refusal must not hide what comes after it: the last one is thrown. */
function attempt(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'StorageError') throw error;
  }
}

function indexSeed(blocks: number): Uint8Array {
  const builder = new IndexBuilder();
  for (let i = 0; i < blocks; i++) {
    builder.addBlock(i === 0 ? undefined : KEYS[i * 3 - 1], KEYS[i * 3]!);
    builder.endBlock(16_384 + i);
  }
  const sealed = Array.from({ length: blocks }, (_, i) => 9000 + i * 100);
  return builder.finish(sealed, KEYS[blocks * 3 - 1]!);
}

function runIndex(input: Uint8Array): void {
  const index = new BlockIndex(input, 'table');
  let end = 0;
  for (let i = 0; i < index.blockCount; i++) {
    expect(index.sealedStart(i) === end, 'blocks follow one another');
    end = index.sealedEnd(i);
    expect(end > index.sealedStart(i), 'a block has bytes');
    expect(index.plainBytes(i) > 0, 'a block has a plaintext');
  }
  expect(end === index.dataBytes, 'blocks end where the data end');
  for (const key of [...KEYS.slice(0, 5), index.lastKey, input.subarray(0, 9)]) {
    const found = index.find(key);
    expect(found >= 0 && found < index.blockCount, 'a key has its block');
    const last = index.findEnd(key);
    expect(last >= found && last <= index.blockCount, 'a range ends within the table');
  }
}

async function filterSeed(keys: number, bits: number): Promise<Uint8Array> {
  const builder = new FilterBuilder(bits);
  for (const key of KEYS.slice(0, keys)) builder.add(key);
  return builder.finish(systemClock);
}

function runFilter(input: Uint8Array): void {
  const filter = new Filter(input, 'table');
  for (const key of KEYS) filter.mayContain(hashKey(key, { line: 0, bits: 0 }));
}

export const targets: readonly Target[] = [
  {
    name: 'table-block',
    kinds: ['corrupt'],
    seeds: () => [blockSeed(1, 3), blockSeed(40, 9), blockSeed(45, 200)],
    run: runBlock,
  },
  {
    name: 'table-index',
    kinds: ['corrupt'],
    seeds: () => [indexSeed(1), indexSeed(5), indexSeed(14)],
    run: runIndex,
  },
  {
    name: 'table-filter',
    kinds: ['corrupt'],
    seeds: () => Promise.all([filterSeed(0, 10), filterSeed(3, 10), filterSeed(45, 20)]),
    run: runFilter,
  },
];

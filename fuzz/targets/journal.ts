// The journal in the state directory: the plaintext of a record, and the sealed heads of files.

import { ByteWriter } from '../../src/base/bytes.ts';
import { encodeBlockMap } from '../../src/engine/format/block-map.ts';
import { decodeChange, encodeChangeHead } from '../../src/engine/format/journal-change.ts';
import {
  decodeJournalHeader,
  encodeJournalHeader,
  JOURNAL_PAGE_BYTES,
  journalSeal,
} from '../../src/engine/format/journal.ts';
import {
  BLOCK_BYTES,
  createBlockMap,
  HOLE,
  POINTER_MIN,
  pointerTo,
} from '../../src/engine/format/pointer.ts';
import { encodePosition, sequenceIn } from '../../src/engine/journal/journal-position.ts';
import { expect, type Target } from '../target.ts';
import { noise, testKeyring } from './support.ts';

const SEGMENT = 9;
const BRANCH = '0a0b0c0d0e0f';
const keyring = testKeyring();

function changeSeed(blocks: readonly number[]): Uint8Array {
  const map = createBlockMap();
  map[0] = HOLE;
  for (const [i, block] of blocks.entries()) map[i + 1] = pointerTo(SEGMENT, block);
  const chunks = new ByteWriter();
  for (const value of [1, 17, 1, 5]) chunks.varint(value);
  encodeBlockMap(chunks, map, 0, SEGMENT);
  const head = encodeChangeHead(SEGMENT, {
    metas: [
      ['volumes', Uint8Array.of(1)],
      ['volume/gone', undefined],
    ],
    chunks: chunks.finish(),
    blocks,
  });
  return Uint8Array.from([...head, ...noise(1, blocks.length * BLOCK_BYTES)]);
}

function runChange(input: Uint8Array): void {
  const change = decodeChange(input, 'record');
  expect(change.data.length === change.blocks * BLOCK_BYTES, 'a record carries its blocks');
  change.forEachChunk((_inode, _chunk, state) => {
    for (const one of state) {
      const sound = one < POINTER_MIN || one - POINTER_MIN < change.blocks;
      expect(sound, 'a block of a map is one that the record carries');
    }
  });
}

function headerPage(): Uint8Array {
  const salt = noise(9, 16);
  const page = new Uint8Array(JOURNAL_PAGE_BYTES);
  const header = {
    journal: '1a1b',
    branch: BRANCH,
    epoch: 3,
    file: 2,
    firstSequence: 77,
    host: 'host',
    createdUnixMs: 1_790_000_000_000,
  };
  encodeJournalHeader(journalSeal(keyring, BRANCH, salt), salt, header, page);
  return page;
}

const PAGE = headerPage();
const USED_BYTES = 32 + new DataView(PAGE.buffer).getUint32(12, true);

/** The zeroes that fill the page, and one byte that is kept for later, are not looked at. */
function runHeader(input: Uint8Array): void {
  const found = decodeJournalHeader(keyring, BRANCH, input, 'slot');
  if (found === undefined) return;
  const same = Buffer.compare(input.subarray(12, USED_BYTES), PAGE.subarray(12, USED_BYTES)) === 0;
  expect(same, 'bytes that nobody sealed are refused');
}

export const targets: readonly Target[] = [
  {
    name: 'journal-change',
    kinds: ['corrupt'],
    bytesMax: 16 * 1024,
    seeds: () => [changeSeed([]), changeSeed([3]), changeSeed([3, 4, 900])],
    run: runChange,
  },
  {
    name: 'journal-position',
    kinds: ['corrupt'],
    seeds: () => [encodePosition({ journal: '1a1b', sequence: 77 })],
    run: (input) => expect(Number.isSafeInteger(sequenceIn(input, '1a1b')), 'a sequence is exact'),
  },
  { name: 'sealed-journal', kinds: ['corrupt'], seeds: () => [PAGE], run: runHeader },
];

// Objects that are sealed as they should be, with a content that nobody of ours would write: what a
// bug of a writer could leave in the store. The input is the content, and the lies of the footers.

import { FrameKind, sealedFrameBytesMax, sealFrame } from '../../src/codec/frame.ts';
import { createInlineSealer } from '../../src/codec/sealer.ts';
import { chunkKey, segmentKey } from '../../src/engine/format/keys.ts';
import { encodeFence, forEachChunk, RECORD_FENCE } from '../../src/engine/format/records.ts';
import { BlockBuilder } from '../../src/engine/table/block-builder.ts';
import { BlockCache } from '../../src/engine/table/block-cache.ts';
import { IndexBuilder } from '../../src/engine/table/block-index.ts';
import { encodeFooter, FOOTER_BYTES } from '../../src/engine/table/footer.ts';
import { openTable } from '../../src/engine/table/reader.ts';
import { TABLE_DEFAULTS } from '../../src/engine/table/settings.ts';
import { compactionScan, TableCursor } from '../../src/engine/table/table-cursor.ts';
import { expect, type Target } from '../target.ts';
import { logObject, openLog } from './sealed.ts';
import { Arguments, noise, partOf, storeOf, testKeyring } from './support.ts';

const keyring = testKeyring('aes-256-gcm');

/** u8 which claims are lies │ u32 record bytes │ u32 object bytes │ data │ record in plain */
async function runLog(input: Uint8Array): Promise<void> {
  const given = new Arguments(input);
  const lies = given.u8();
  const recordBytes = given.u32();
  const objectBytes = given.u32();
  const object = logObject(given.part(), given.rest(), {
    ...(lies & 1 ? { recordBytes } : {}),
    ...(lies & 2 ? { objectBytes } : {}),
  });
  const { record, dataBytes } = await openLog(object);
  expect(dataBytes >= 0, 'an object has data or none');
  if (record.type === RECORD_FENCE) return;
  const segment = 'segment' in record ? record.segment : 1;
  forEachChunk({ chunks: record.chunks, segment }, 'record', () => {});
}

const TABLE_NAME = 'branches/0a0b0c0d0e0f/tables/0000000000000007';
const TABLE_SALT = noise(8, 16);
const tableSeal = keyring.sealFor(TABLE_NAME, TABLE_SALT);
const sealer = createInlineSealer();

/** Frames that were sealed lately: most inputs differ in one part from those before. */
const SEALED_MAX = 256;
const sealedFrames = new Map<string, Uint8Array>();

function sealed(kind: FrameKind, index: number, plain: Uint8Array): Uint8Array {
  const id = `${kind} ${index} ${Buffer.from(plain).toString('latin1')}`;
  const known = sealedFrames.get(id);
  if (known !== undefined) return known;
  const target = new Uint8Array(sealedFrameBytesMax(plain.length));
  const frame = target.slice(0, sealFrame(tableSeal, kind, index, 'none', plain, target, 0));
  if (sealedFrames.size >= SEALED_MAX) sealedFrames.clear();
  sealedFrames.set(id, frame);
  return frame;
}

/** The sizes of the blocks as they are; without blocks, one that is not there. */
function indexFor(frames: readonly Uint8Array[], plains: readonly Uint8Array[]): Uint8Array {
  const builder = new IndexBuilder();
  for (const [i, plain] of plains.entries()) {
    builder.addBlock(i === 0 ? undefined : chunkKey(17, i * 40), chunkKey(17, i * 40 + 1));
    builder.endBlock(Math.max(1, plain.length));
  }
  return builder.finish(
    frames.map((frame) => frame.length),
    segmentKey(9),
  );
}

/** u8 lies │ u16 entries │ u8 × 3 what is added to the footer's sizes │ filter │ index │ blocks */
async function runTable(input: Uint8Array): Promise<void> {
  const given = new Arguments(input);
  const lies = given.u8();
  const entries = 1 + given.u16();
  const [blocksMore, filterMore, indexMore] = [given.u8(), given.u8(), given.u8()];
  const [filterPlain, indexPlain] = [given.part(), given.part()];
  const plains = [given.part(), given.part()].filter((part, i) => i === 0 || part.length > 0);
  const frames = plains.map((plain, i) => sealed(FrameKind.tableBlock, i, plain));
  const filter = sealed(FrameKind.tableFilter, 0, filterPlain);
  const index = sealed(FrameKind.tableIndex, 0, lies & 1 ? indexPlain : indexFor(frames, plains));
  const bodyBytes = [...frames, filter, index].reduce((sum, part) => sum + part.length, 0);
  const footer = encodeFooter(
    {
      salt: TABLE_SALT,
      objectBytes: bodyBytes + FOOTER_BYTES,
      entries,
      blockCount: plains.length + (lies & 2 ? blocksMore : 0),
      filterBytes: filter.length + (lies & 4 ? filterMore : 0),
      indexBytes: index.length + (lies & 8 ? indexMore : 0),
    },
    tableSeal,
  );
  const object = Buffer.concat([...frames, filter, index, footer]);
  await readTable(object, filter.length + index.length + FOOTER_BYTES, entries);
}

async function readTable(object: Uint8Array, tailBytes: number, entries: number): Promise<void> {
  const store = storeOf(object);
  const deps = { store, keyring, sealer, cache: new BlockCache(1024 * 1024) };
  const descriptor = {
    id: 7,
    bytes: object.length,
    tailBytes,
    entries,
    firstKey: chunkKey(17, 0),
    lastKey: segmentKey(9),
  };
  const table = openTable(deps, TABLE_DEFAULTS, descriptor, TABLE_NAME);
  await table.get(chunkKey(17, 5));
  await table.get(segmentKey(4));
  const cursor = new TableCursor(table, compactionScan());
  for (let seen = 0; await cursor.next(); seen++) {
    expect(seen <= object.length, 'every entry takes a byte');
  }
  await table.preload({ cause: 'open' });
}

function blockPlain(count: number): Uint8Array {
  const builder = new BlockBuilder(512);
  for (let i = 0; i < count; i++) builder.add(chunkKey(17, i + 1), noise(i, 12));
  return builder.finish().slice();
}

function tableSeed(lies: number): Uint8Array {
  const filter = partOf(Uint8Array.of(0));
  const block = blockPlain(20);
  const index = partOf(indexFor([new Uint8Array(block.length + 20)], [block]));
  return Uint8Array.from([lies, 19, 0, 0, 0, 0, ...filter, ...index, ...partOf(block), 0, 0]);
}

export const targets: readonly Target[] = [
  {
    name: 'forged-log',
    kinds: ['corrupt'],
    seeds: () => {
      const fence = encodeFence({ type: RECORD_FENCE, epoch: 4, resumeAt: 99 });
      return [0, 1, 2].map((lies) =>
        Uint8Array.from([lies, 50, 0, 0, 0, 200, 0, 0, 0, ...partOf(noise(2, 30)), ...fence]),
      );
    },
    run: runLog,
  },
  {
    name: 'forged-table',
    kinds: ['corrupt'],
    // A cache and its arrays for every table.
    memoryBytes: 64 * 1024 * 1024,
    seeds: () => [0, 1, 2, 4, 8].map(tableSeed),
    run: runTable,
  },
];

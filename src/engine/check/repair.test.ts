import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { createSeededRng } from '../../base/rng.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import { decodeSegmentEntry, segmentEntryToBytes, withLiveCount } from '../format/frame-table.ts';
import { KEY_CHUNK, KEY_SEGMENT, segmentOfKey } from '../format/keys.ts';
import { createBlockMap, pointerTo } from '../format/pointer.ts';
import { Lineage } from '../manifest/lineage.ts';
import { createManifestChain } from '../manifest/manifest-chain.ts';
import { cursorOf, type Entry, entriesOf } from '../table/cursor.ts';
import { createTestBed, type TestBed } from '../testing.ts';
import { isRepairable, repairBranch, runCursors, writeMerged } from './repair.ts';
import { BUSY, check, componentsOf, INODE, randomChange, SIZE } from './testing.ts';

/** Rewrites the newest run of `main`, entry by entry, and publishes it. */
async function tamper(bed: TestBed, change: (entry: Entry) => Entry | undefined): Promise<void> {
  const components = await componentsOf(bed);
  const id = (await check(bed)).branches.find((one) => one.name === 'main')!.id;
  const chain = createManifestChain(bed.store, components.keyring, components.rng, id);
  const { number, manifest } = await chain.load();
  const lineage = new Lineage(id, manifest.lineage);
  const [newest, ...older] = manifest.runs;
  async function* changed(): AsyncGenerator<Entry> {
    for await (const entry of entriesOf(runCursors(components, [newest!], lineage)[0]!)) {
      const now = change(entry);
      if (now !== undefined) yield now;
    }
  }
  const epoch = manifest.epoch + 1;
  const run = await writeMerged(components, cursorOf(changed()), lineage, epoch);
  await chain.publish(number + 1, { ...manifest, epoch, runs: [run, ...older] }, 'admin');
}

async function writtenBed(seed: number): Promise<{ bed: TestBed; model: Uint8Array }> {
  const bed = await createTestBed(seed);
  const rng = createSeededRng(seed);
  const model = new Uint8Array(SIZE);
  const db = await bed.open(BUSY);
  for (let step = 0; step < 60; step++) {
    await randomChange(db, model, rng, step);
    await db.barrier();
  }
  await db.close();
  const last = await bed.open({ ...BUSY, logObjectsMax: 1000 });
  await randomChange(last, model, rng, 99);
  await last.barrier();
  return { bed, model };
}

async function content(bed: TestBed): Promise<Uint8Array> {
  const db = await bed.open();
  const target = new Uint8Array(SIZE);
  await db.read(INODE, 0, target);
  await db.close();
  return target;
}

/** Changes the first entry of a segment. */
function onFirstSegment(change: (entry: Entry) => Entry | undefined) {
  let done = false;
  return (entry: Entry): Entry | undefined => {
    if (done || entry.key[0] !== KEY_SEGMENT) return entry;
    done = true;
    return change(entry);
  };
}

const DEFECTS = {
  'a count that is too low': onFirstSegment(({ key, value }) => {
    const { live } = decodeSegmentEntry(new ByteReader(value, 'entry'));
    return { key, value: withLiveCount(value, live - 1) };
  }),
  'a count of nought': onFirstSegment(({ key, value }) => ({
    key,
    value: withLiveCount(value, 0),
  })),
  'a frame table that is missing': onFirstSegment(() => undefined),
  'a frame table with another salt': onFirstSegment(({ key, value }) => {
    const { table, live } = decodeSegmentEntry(new ByteReader(value, 'entry'));
    return { key, value: segmentEntryToBytes({ ...table, salt: new Uint8Array(16) }, live) };
  }),
  'a frame table with too few blocks': onFirstSegment(({ key, value }) => {
    const { table, live } = decodeSegmentEntry(new ByteReader(value, 'entry'));
    const short = { ...table, blocks: 1, offsets: table.offsets.subarray(0, 2) };
    return { key, value: segmentEntryToBytes(short, live) };
  }),
};

for (const [what, change] of Object.entries(DEFECTS)) {
  test(`${what} is found and repaired`, async () => {
    const { bed, model } = await writtenBed(3);
    await tamper(bed, change);
    const found = await check(bed, true);
    assert.ok(found.report.errorCount > 0);
    const branch = found.branches[0]!;
    assert.ok(isRepairable(branch), JSON.stringify(found.report.errors));
    const repaired = await repairBranch(await componentsOf(bed), branch);
    assert.deepEqual(repaired.lost, []);
    const after = await check(bed, true);
    assert.deepEqual(after.report.errors, []);
    assert.ok(Buffer.compare(await content(bed), model) === 0, 'the content is what was written');
  });
}

test('a pointer past the end of its segment is found, and no repair makes it up', async () => {
  const { bed } = await writtenBed(4);
  let segment = 0;
  await tamper(bed, (entry) => {
    if (entry.key[0] === KEY_SEGMENT) segment ||= segmentOfKey(entry.key);
    return entry;
  });
  let done = false;
  await tamper(bed, ({ key, value }) => {
    if (done || key[0] !== KEY_CHUNK) return { key, value };
    done = true;
    const map = createBlockMap();
    map[3] = pointerTo(segment, 60_000);
    const out = new ByteWriter();
    encodeBlockMap(out, map, 0, 0);
    return { key, value: out.finish() };
  });
  const found = await check(bed);
  const kinds = new Set(found.report.errors.map((error) => error.kind));
  assert.ok(kinds.has('pointer'), JSON.stringify(found.report.errors));
  assert.ok(found.report.errors.some((error) => /names block 60000/.test(error.what)));
  await repairBranch(await componentsOf(bed), found.branches[0]!);
  const after = await check(bed);
  assert.deepEqual([...new Set(after.report.errors.map((error) => error.kind))], ['pointer']);
});

test('a repair deposes the server that writes the branch', async () => {
  const { bed } = await writtenBed(6);
  const db = await bed.open();
  const { branches } = await check(bed);
  await repairBranch(await componentsOf(bed), branches[0]!);
  await db.write(INODE, 0, new Uint8Array(4096).fill(1));
  await assert.rejects(Promise.resolve(db.barrier()), /another writer|taken over|fence/);
});

// Segments on their way to the store: by the spool, and into the cache.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { allocateShared } from '../../codec/shared.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { never } from '../../objectstore/testing-retry.ts';
import { settle } from '../follow/testing.ts';
import { logName } from '../format/names.ts';
import { MemoryJournalDisk } from '../journal/memory-journal-disk.ts';
import { Memtable } from '../memtable/memtable.ts';
import { type Arena, NO_ARENA } from './arena.ts';
import { Segment } from './segment.ts';
import { Spool } from './spool.ts';
import { type Closed, LOG_WINDOW, Uploads, type UploadsHooks } from './uploads.ts';

const BRANCH = 'b';
const SETTINGS = {
  segmentBytes: 65_536,
  frameBytes: 16_384,
  arenas: 4,
  idleCloseMs: 1000,
  touchedChunksMax: 100,
  cipher: 'chacha20-poly1305',
  compression: 'none',
} as const;

/** A segment that changes one record, as a barrier would have closed it. */
function closedSegment(memtable: Memtable, number: number, arena: Arena = NO_ARENA): Closed {
  const segment = new Segment(number, arena, memtable, 0);
  segment.putMeta('name', Uint8Array.of(number));
  return {
    segment,
    name: logName(BRANCH, number),
    logNumber: number,
    epoch: 1,
    durableBefore: 1,
    chunks: segment.encodeChunks(),
    journalSequence: 0,
    taken: true,
    readable: false,
    cached: false,
    table: undefined,
  };
}

function createWorld(store: ObjectStore, spool: Spool | undefined, hooks: Partial<UploadsHooks>) {
  const rng = createSeededRng(1);
  const keyring = createKeyring({
    dataKey: rng.bytes(32),
    storeId: Buffer.from(rng.bytes(16)).toString('hex'),
    cipher: SETTINGS.cipher,
  });
  const clock = createManualClock();
  const sealer = createInlineSealer();
  const stop = new AbortController();
  const nothing = (): void => {};
  const uploads = new Uploads(
    { store, sealer, keyring, rng, clock, log: silentLog, spool },
    SETTINGS,
    {
      onClosed: nothing,
      onReadable: nothing,
      onDurable: nothing,
      onFreed: nothing,
      onAdvanced: nothing,
      onRefused: nothing,
      onFailed: (error) => stop.abort(error),
      ...hooks,
    },
    { segment: 0, logNumber: 0, stop: stop.signal },
  );
  return { uploads, clock, stop };
}

test('the oldest segment is put from the spool though many beyond the window wait', async () => {
  const memory = createMemoryStore();
  const first = logName(BRANCH, 1);
  let hangs = true;
  const store: ObjectStore = {
    ...memory,
    putIfAbsent: (key, body, options) =>
      key === first && hangs ? never(options.signal) : memory.putIfAbsent(key, body, options),
  };
  const disk = { directory: 'spool', bytesMax: 2 ** 30 };
  const spool = new Spool(new MemoryJournalDisk(), silentLog, disk);
  const { uploads, clock, stop } = createWorld(store, spool, {});
  const memtable = new Memtable();
  const count = LOG_WINDOW + 10;
  for (let number = 1; number <= count; number++) uploads.add(closedSegment(memtable, number));
  await settle();
  // All that may be put beside the first are there; the others are spooled.
  assert.equal(memory.objects.size, LOG_WINDOW - 1);
  assert.equal(uploads.durableLogNumber, 0);
  // The put of the first is cut off, and goes on from the spool.
  hangs = false;
  clock.advance(1000);
  await settle();
  assert.equal(stop.signal.aborted, false);
  assert.equal(uploads.durableLogNumber, count);
  assert.equal(memory.objects.size, count);
  assert.equal(spool.bytes, 0);
});

test('the cache has a part of a segment in a turn, all of it before its memory goes', async () => {
  const memory = createMemoryStore();
  const put = Promise.withResolvers<void>();
  const store: ObjectStore = {
    ...memory,
    putIfAbsent: async (key, body, options) => {
      await put.promise;
      return memory.putIfAbsent(key, body, options);
    },
  };
  const turns: (() => void)[] = [];
  const events: string[] = [];
  const { uploads, clock, stop } = createWorld(store, undefined, {
    onClosed: (segment, first, count) => void events.push(`${segment.id}: ${first}+${count}`),
    onDurable: (segment) => void events.push(`${segment.id} durable`),
    onFreed: (segment) => void events.push(`${segment.id} free`),
  });
  clock.yieldTurn = () => new Promise((resolve) => void turns.push(resolve));
  const turn = async (): Promise<void> => {
    for (const resume of turns.splice(0)) resume();
    await settle();
  };
  const blocks = 2 * 64 + 2;
  const arena = { plain: allocateShared(blocks * 4096), sealed: allocateShared(2 ** 20) };
  const closed = closedSegment(new Memtable(), 1, arena);
  closed.segment.blocks = blocks;
  uploads.add(closed);
  assert.deepEqual(events, ['1: 0+64'], 'in this turn');
  await turn();
  assert.deepEqual(events.splice(0), ['1: 0+64', '1: 64+64']);
  put.resolve();
  await settle();
  assert.deepEqual(events.splice(0), ['1 durable'], 'a barrier does not wait for the cache');
  await turn();
  assert.deepEqual(events.splice(0), ['1: 128+2', '1 free']);

  uploads.add(closedSegment(new Memtable(), 2));
  await settle();
  assert.deepEqual(events.splice(0), ['2 free', '2 durable'], 'it has no blocks');
  assert.equal(stop.signal.aborted, false);
});

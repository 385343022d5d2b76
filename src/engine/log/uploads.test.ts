// Segments on their way to the store by the spool.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createSeededRng } from '../../base/rng.ts';
import { createKeyring } from '../../codec/keyring.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createManualClock } from '../../objectstore/manual-clock.ts';
import { createMemoryStore } from '../../objectstore/memory.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { never } from '../../objectstore/testing-retry.ts';
import { settle } from '../follow/testing.ts';
import { logName } from '../format/names.ts';
import { MemoryJournalDisk } from '../journal/memory-journal-disk.ts';
import { Memtable } from '../memtable/memtable.ts';
import { Segment } from './segment.ts';
import { Spool } from './spool.ts';
import { type Closed, LOG_WINDOW, Uploads } from './uploads.ts';

const BRANCH = 'b';
const NO_ARENA = { plain: new Uint8Array(0), sealed: new Uint8Array(0) };
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
function closedSegment(memtable: Memtable, number: number): Closed {
  const segment = new Segment(number, NO_ARENA, memtable, 0);
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
    table: undefined,
  };
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
  const rng = createSeededRng(1);
  const keyring = createKeyring({
    dataKey: rng.bytes(32),
    storeId: Buffer.from(rng.bytes(16)).toString('hex'),
    cipher: SETTINGS.cipher,
  });
  const clock = createManualClock();
  const disk = { directory: 'spool', bytesMax: 2 ** 30 };
  const spool = new Spool(new MemoryJournalDisk(), silentLog, disk);
  const sealer = createInlineSealer();
  const stop = new AbortController();
  const uploads = new Uploads(
    { store, sealer, keyring, rng, clock, log: silentLog, spool },
    SETTINGS,
    {
      onReadable: () => {},
      onDurable: () => {},
      onFreed: () => {},
      onAdvanced: () => {},
      onRefused: () => {},
      onFailed: (error) => stop.abort(error),
    },
    { segment: 0, logNumber: 0, stop: stop.signal },
  );
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

// What the engine's tests build on: a small database over a memory store, with settings that make
// every mechanism come up after a few kilobytes.

import type { Clock } from '../base/clock.ts';
import { createSeededRng } from '../base/rng.ts';
import { silentLog } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import { createInlineSealer } from '../codec/sealer.ts';
import { createMemoryStore, type MemoryStore } from '../objectstore/memory.ts';
import { type Meter, withMeter } from '../objectstore/metered.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { type Database, initStore, openDatabase } from './db.ts';
import type { DatabaseSettings } from './settings.ts';

export const PASSPHRASE = 'correct horse battery staple';

/** Tiny segments, frames and memtables: a few hundred blocks go through flush and compaction. */
export const TINY: Partial<DatabaseSettings> = {
  cacheMemoryBytes: 256 * 1024,
  segmentBytes: 64 * 1024,
  frameBytes: 16 * 1024,
  arenas: 4,
  memtableBytes: 300 * 1024,
  logObjectsMax: 12,
  tableCacheBytes: 64 * 1024,
  mapCacheBytes: 16 * 1024,
};

/** A key slot that costs next to nothing to open. */
export const INIT_OPTIONS = {
  passphrase: PASSPHRASE,
  cipher: 'chacha20-poly1305',
  compression: 'lz4',
  keySlotCost: { memoryKiB: 8, passes: 1, parallelism: 1 },
} as const;

export interface TestBed {
  readonly memory: MemoryStore;
  readonly store: ObjectStore;
  readonly meter: Meter;
  open(settings?: Partial<DatabaseSettings>, store?: ObjectStore, clock?: Clock): Promise<Database>;
}

/** An initialised store and a way to open it. */
export async function createTestBed(seed = 1): Promise<TestBed> {
  const rng = createSeededRng(seed);
  const memory = createMemoryStore();
  const store = withMeter(memory);
  await initStore({ store, rng, clock: systemClock }, INIT_OPTIONS);
  return {
    memory,
    store,
    meter: store.meter,
    open: (settings = {}, other = store, clock = systemClock) =>
      openDatabase(
        { store: other, sealer: createInlineSealer(), clock, rng, log: silentLog },
        { passphrase: PASSPHRASE, ...TINY, ...settings },
      ),
  };
}

/** Incompressible bytes that tell which write they are from. */
export function noise(seed: number, bytes: number): Uint8Array {
  return createSeededRng(seed).bytes(bytes);
}

// What the tests of followers build on: one memory store, a writer and followers with a clock each,
// settings that make every mechanism come up after a few kilobytes, and requests that tests can
// hold up or refuse.

import assert from 'node:assert/strict';
import { createSeededRng } from '../../base/rng.ts';
import { silentLog } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import { createInlineSealer } from '../../codec/sealer.ts';
import { createManualClock, type ManualClock } from '../../objectstore/manual-clock.ts';
import { createMemoryStore, type MemoryStore } from '../../objectstore/memory.ts';
import { withMeter } from '../../objectstore/metered.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { type Database, initStore, openDatabase, openRoot } from '../db.ts';
import type { DatabaseSettings } from '../settings.ts';
import { INIT_OPTIONS, PASSPHRASE, TINY } from '../testing.ts';

export const INODE = 20;
export const FOLLOW_MS = 1000;

/** Collects at the least occasion. */
const GREEDY = { garbageSoft: 0.1, garbageHard: 0.2 };
/** Everything that is read comes from the store. */
const FORGETFUL = { cacheMemoryBytes: 0, tableCacheBytes: 4096 };

export type Request = 'put' | 'get' | 'list' | 'delete';

export interface Opened {
  readonly db: Database;
  readonly clock: ManualClock;
}

export interface FollowBed {
  readonly memory: MemoryStore;
  /** As `writer`, with a clock that others use too. */
  writer(settings?: Partial<DatabaseSettings>): Promise<Opened>;
  follower(store?: ObjectStore, settings?: Partial<DatabaseSettings>): Promise<Opened>;
  /** Keys of all leases. */
  leases(): readonly string[];
  /** Number of the highest manifest of the only branch. */
  newest(): number;
}

export async function createFollowBed(seed: number): Promise<FollowBed> {
  const rng = createSeededRng(seed);
  const memory = createMemoryStore();
  await initStore({ store: memory, rng, clock: systemClock }, INIT_OPTIONS);
  const root = await openRoot(memory, PASSPHRASE, 'open');
  const keys = (part: string) => [...memory.objects.keys()].filter((key) => key.includes(part));
  const open = async (store: ObjectStore, settings: Partial<DatabaseSettings>): Promise<Opened> => {
    const clock = createManualClock();
    const components = { store, sealer: createInlineSealer(), clock, rng, log: silentLog, root };
    const all = { passphrase: PASSPHRASE, ...TINY, ...settings };
    return { db: await openDatabase(components, all), clock };
  };
  return {
    memory,
    writer: (settings = {}) => open(memory, { ...GREEDY, ...settings }),
    follower: (store = memory, settings = {}) =>
      open(store, { ...FORGETFUL, readOnly: true, followIntervalMs: FOLLOW_MS, ...settings }),
    leases: () => keys('/readers/'),
    newest: () => Math.max(...keys('/manifest/').map((key) => Number(key.split('/').at(-1)))),
  };
}

/** A store that asks `before` ahead of each request; what that throws is the answer. */
export function withHook(
  store: ObjectStore,
  before: (request: Request, key: string) => Promise<void> | void,
): ReturnType<typeof withMeter> {
  return withMeter({
    async putIfAbsent(key, body, options) {
      await before('put', key);
      await store.putIfAbsent(key, body, options);
    },
    async get(key, range, options) {
      await before('get', key);
      return store.get(key, range, options);
    },
    head: (key, options) => store.head(key, options),
    async *list(prefix, options) {
      await before('list', prefix);
      yield* store.list(prefix, options);
    },
    async delete(key, options) {
      await before('delete', key);
      await store.delete(key, options);
    },
    close: () => store.close(),
  });
}

/** Lets everything that is under way in this process come to rest. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await systemClock.yieldTurn();
}

export async function readAll(db: Database, bytes: number): Promise<Uint8Array> {
  const target = new Uint8Array(bytes);
  await db.read(INODE, 0, target);
  return target;
}

/** As `assert.deepEqual`, without minutes of work on what differs. */
export function assertBytes(got: Uint8Array, expected: Uint8Array, what = 'the same bytes'): void {
  assert.ok(Buffer.compare(got, expected) === 0, what);
}

// What the policy is worth, in exact counts: seeded traces over a small cache, beside an LRU list
// that may hold as many bytes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSeededRng } from '../../base/rng.ts';
import type { DiskCache } from './disk-cache.ts';
import { MemoryDisk } from './memory-disk.ts';
import { openOn, saltOf } from './testing.ts';

const FRAME_BYTES = 500;
const SLABS = 64;
const SLAB_BYTES = 8192;
const salt = saltOf(1);
const content = new Uint8Array(FRAME_BYTES);
const lengths = Uint32Array.of(FRAME_BYTES);
const target = new Uint8Array(FRAME_BYTES);

class Lru {
  readonly #held = new Set<number>();
  readonly #max = Math.floor((SLABS * SLAB_BYTES) / FRAME_BYTES);
  hits = 0;

  read(frame: number): void {
    if (this.#held.delete(frame)) this.hits += 1;
    this.#held.add(frame);
    for (const oldest of this.#held) {
      if (this.#held.size <= this.#max) break;
      this.#held.delete(oldest);
    }
  }
}

async function read(cache: DiskCache, frame: number): Promise<void> {
  if (await cache.read(salt, frame, lengths, target)) return;
  cache.insert(salt, frame, lengths, content);
  await cache.flush();
}

interface Counts {
  readonly disk: number;
  readonly lru: number;
}

/** Hits on frames below `hot` among the second half of the trace. */
async function hitsOf(trace: readonly number[], hot: number): Promise<Counts> {
  const cache = await openOn(new MemoryDisk(), { slabs: SLABS, slabBytes: SLAB_BYTES });
  const lru = new Lru();
  let disk = 0;
  let lruHits = 0;
  for (const [at, frame] of trace.entries()) {
    const before = { disk: cache.stats().hits, lru: lru.hits };
    await read(cache, frame);
    lru.read(frame);
    if (at < trace.length / 2 || frame >= hot) continue;
    disk += cache.stats().hits - before.disk;
    lruHits += lru.hits - before.lru;
  }
  assert.equal(cache.stats().failed, false);
  await cache.close();
  return { disk, lru: lruHits };
}

test('a scan does not wash out what is read again and again', async () => {
  // 600 hot frames, of 1048 that fit; each read of one is followed by three of a scan.
  const rng = createSeededRng(1);
  const trace: number[] = [];
  for (let count = 0; count < 5000; count++) {
    trace.push(Math.floor(rng.float() * 600));
    for (let scanned = 0; scanned < 3; scanned++) trace.push(1000 + count * 3 + scanned);
  }
  assert.deepEqual(await hitsOf(trace, 600), { disk: 2185, lru: 919 });
});

test('without a scan it is near LRU or better', async () => {
  const rng = createSeededRng(2);
  const trace = Array.from({ length: 20_000 }, () => Math.floor(8000 ** rng.float()));
  assert.deepEqual(await hitsOf(trace, 8000), { disk: 7125, lru: 6874 });
});

// A newcomer that comes back late is dropped once before it stays: the price of standing a scan.
test('a hot set that moves is followed', async () => {
  const rng = createSeededRng(3);
  const trace: number[] = [];
  for (let count = 0; count < 16_000; count++) {
    const base = Math.floor(count / 4000) * 2000;
    trace.push(base + Math.floor(rng.float() * 700));
  }
  assert.deepEqual(await hitsOf(trace, 10_000), { disk: 5641, lru: 6610 });
});

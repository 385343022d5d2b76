// Random operations, closes, kills and damage, against a model: a frame's bytes follow from its
// key, so `check` knows what a read must give if it gives anything.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DiskCache } from './disk-cache.ts';
import { MemoryDisk } from './memory-disk.ts';
import { check, insert, openOn, SLAB_BYTES, saltOf } from './testing.ts';

const OBJECTS = 24;
const FRAMES = 12;
const SLABS = 10;
/** So small that a run goes round many times. */
const SMALL_SLAB_BYTES = 4096;

type Step =
  | { readonly kind: 'insert' | 'read' | 'forget'; object: number; first: number; count: number }
  | { readonly kind: 'flush' | 'close' | 'kill' }
  | { readonly kind: 'tear'; readonly bytes: number }
  | { readonly kind: 'damage'; readonly where: number; readonly length: number; value: number };

const range = {
  object: fc.nat(OBJECTS - 1),
  first: fc.nat(FRAMES - 1),
  count: fc.integer({ min: 1, max: 6 }),
};

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('insert' as const), ...range }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('read' as const), ...range }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), ...range }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'kill' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('tear' as const), bytes: fc.nat(4 * SLAB_BYTES) }),
  },
);

const damage: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('damage' as const),
  where: fc.nat(),
  length: fc.integer({ min: 1, max: 5000 }),
  value: fc.nat(255),
});

/** Overwrites a part of one file, or cuts it off. */
function hurt(disk: MemoryDisk, where: number, length: number, value: number): void {
  const names = [...disk.files.keys()];
  const name = names[where % names.length];
  if (name === undefined) return;
  const bytes = disk.files.get(name)!;
  const at = where % Math.max(1, bytes.length);
  if (value % 5 === 0) disk.files.set(name, bytes.slice(0, at));
  else bytes.fill(value, at, at + length);
}

/** Every operation takes a turn of the event loop, so that reads and the writer interleave. */
function slowDown(disk: MemoryDisk): void {
  disk.gate = () => new Promise((resolve) => setImmediate(resolve));
}

async function restarted(disk: MemoryDisk, slabBytes: number): Promise<[MemoryDisk, DiskCache]> {
  const next = disk.reboot();
  slowDown(next);
  return [next, await openOn(next, { slabs: SLABS, slabBytes })];
}

async function run(steps: readonly Step[], slabBytes: number, damaged: boolean): Promise<void> {
  let disk = new MemoryDisk();
  slowDown(disk);
  const reads: Promise<void>[] = [];
  let cache = await openOn(disk, { slabs: SLABS, slabBytes });
  const inserted = new Set<string>();
  for (const move of steps) {
    if (move.kind === 'insert') {
      insert(cache, move.object, move.first, move.count);
      for (let at = 0; at < move.count; at++) inserted.add(`${move.object}/${move.first + at}`);
    } else if (move.kind === 'read') {
      const { object, first, count } = move;
      const read = check(cache, object, first, count).then((there) => {
        for (let at = 0; there && at < count; at++) {
          assert.ok(inserted.has(`${object}/${first + at}`), 'read but never inserted');
        }
      });
      reads.push(read);
      // Some go on while other things happen.
      if (first % 2 === 0) await read;
    } else if (move.kind === 'forget') {
      cache.forget(saltOf(move.object), move.first, move.count);
    } else if (move.kind === 'flush') {
      await cache.flush();
    } else if (move.kind === 'tear') {
      disk.bytesUntilCrash = move.bytes;
    } else if (move.kind === 'damage') {
      hurt(disk, move.where, move.length, move.value);
    } else {
      const { entries: before, failed, evictions } = cache.stats();
      const torn = failed || disk.bytesUntilCrash !== Infinity;
      if (move.kind === 'close') await cache.close();
      [disk, cache] = await restarted(disk, slabBytes);
      const evicting = evictions + cache.stats().evictions > 0 || slabBytes === SMALL_SLAB_BYTES;
      if (!torn && !damaged && !evicting) {
        assert.ok(cache.stats().entries >= before, 'a restart is warm');
      }
    }
    assert.ok(disk.peakBytes <= SLABS * slabBytes, 'the budget is never exceeded');
    const { failed } = cache.stats();
    assert.ok(!failed || disk.bytesUntilCrash !== Infinity, 'nothing failed that need not');
  }
  await Promise.all(reads);
  await cache.close();
  assert.equal(disk.bytesUntilCrash === Infinity && disk.openFiles > 0, false, 'files are closed');
}

const slabSize = fc.constantFrom(SMALL_SLAB_BYTES, SLAB_BYTES);
const RUNS = { numRuns: 200 };
const LONG = { maxLength: 150, size: 'max' } as const;

test('a read gives what was inserted or nothing, over closes, kills and torn writes', async () => {
  const property = fc.asyncProperty(fc.array(step, LONG), slabSize, (steps, slabBytes) =>
    run(steps, slabBytes, false),
  );
  await fc.assert(property, RUNS);
});

test('damage anywhere in the files costs frames, never a wrong byte or a failure', async () => {
  const move = fc.oneof({ weight: 9, arbitrary: step }, { weight: 1, arbitrary: damage });
  const property = fc.asyncProperty(fc.array(move, LONG), slabSize, (moves, slabBytes) =>
    run(moves, slabBytes, true),
  );
  await fc.assert(property, RUNS);
});

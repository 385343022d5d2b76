// Any byte of any object changed: the answer is an error or the right data, never wrong bytes.
//
// In one process, so that thousands of flips are tried: a store with every kind of object is
// built, then each time one object is altered, the store opened, and everything in it read.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { isStorageError } from '../../src/base/errors.ts';
import { createSeededRng } from '../../src/base/rng.ts';
import type { Database } from '../../src/engine/db.ts';
import { createTestBed, noise, type TestBed } from '../../src/engine/testing.ts';
import { createMemoryStore } from '../../src/objectstore/memory.ts';

const INODE = 16;
const DATA_BYTES = 384 * 1024;
/** What may be said of a damaged store: that it is damaged, or that no key fits it. */
const KINDS = ['corrupt', 'wrongKey'] as const;

type Objects = Map<string, Uint8Array>;

const KIND_OF_OBJECT = [
  ['format', /^format\.json$/],
  ['key slot', /^keys\//],
  ['branch index', /^branches\/index\//],
  ['manifest', /\/manifest\/\d+$/],
  ['log', /\/log\/\d+$/],
  ['table', /\/tables\/\d+$/],
] as const;

let bed: TestBed;
let pristine: Objects;
let model: Uint8Array;
before(async () => {
  bed = await createTestBed(3);
  model = new Uint8Array(DATA_BYTES);
  const rng = createSeededRng(4);
  const write = async (db: Database, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const offset = Math.floor((rng.float() * DATA_BYTES) / 4096) * 4096;
      const data = noise(i + count, Math.min(8192, DATA_BYTES - offset));
      // Half of it compresses, so that both kinds of frames are there.
      if (i % 2 === 0) data.fill(i, 100);
      await db.write(INODE, offset, data);
      model.set(data, offset);
      if (i % 9 === 8) await db.barrier();
    }
    await db.putMeta('record', Uint8Array.of(count));
    await db.barrier();
  };
  const first = await bed.open();
  await write(first, 80);
  await first.close();
  // Never closed: what it wrote is in the log alone, and is replayed at each open.
  await write(await bed.open(), 60);
  pristine = new Map(bed.memory.objects);
});

/** 'refused' at open or at a read, 'same' when nothing of what was changed is needed. */
async function outcome(objects: Objects): Promise<'refused' | 'same'> {
  const store = createMemoryStore();
  for (const [key, bytes] of objects) store.objects.set(key, bytes);
  try {
    const db = await bed.open({ readOnly: true }, store);
    const target = new Uint8Array(DATA_BYTES);
    const meta = await db.meta('record');
    await db.read(INODE, 0, target);
    await db.close();
    assert.ok(Buffer.compare(target, model) === 0, 'wrong bytes were returned');
    assert.deepEqual(meta, Uint8Array.of(60), 'a wrong record was returned');
    return 'same';
  } catch (error) {
    if (KINDS.some((kind) => isStorageError(error, kind))) return 'refused';
    throw error;
  }
}

function namesOf(kind: RegExp): readonly string[] {
  return [...pristine.keys()].filter((name) => kind.test(name)).toSorted();
}

/** All of a small object; of a large one its ends, where the structures lie, and a sample. */
function positionsOf(bytes: Uint8Array, samples: number): readonly number[] {
  const all = Array.from({ length: bytes.length }, (_, at) => at);
  if (bytes.length <= samples) return all;
  const step = bytes.length / (samples / 2);
  const spread = all.filter((at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
  return [...new Set([...spread, ...all.slice(0, 4), ...all.slice(-samples / 2)])];
}

test('the store that is damaged below has every kind of object and reads back', async () => {
  for (const [kind, pattern] of KIND_OF_OBJECT) {
    assert.ok(namesOf(pattern).length > 0, `there is no ${kind}`);
  }
  assert.equal(await outcome(pristine), 'same');
});

for (const [kind, pattern] of KIND_OF_OBJECT) {
  test(`a flipped bit in a ${kind} never gives wrong bytes`, async () => {
    const names = namesOf(pattern);
    // The newest are those that are read; of the rest a few will do.
    const chosen = names.filter((_, i) => i >= names.length - 3 || i % 5 === 0);
    let refused = 0;
    for (const name of chosen) {
      const bytes = pristine.get(name)!;
      for (const at of positionsOf(bytes, 200)) {
        const damaged = bytes.slice();
        damaged[at]! ^= 1 << (at % 8);
        const result = await outcome(new Map(pristine).set(name, damaged)).catch((cause) => {
          throw new Error(`${name}, byte ${at} of ${bytes.length}: ${String(cause)}`, { cause });
        });
        if (result === 'refused') refused += 1;
      }
    }
    assert.ok(refused > 0, 'some of it is noticed, or nothing was tested');
  });
}

test('objects that are cut, emptied, lengthened or swapped never give wrong bytes', async () => {
  for (const [, pattern] of KIND_OF_OBJECT) {
    const names = namesOf(pattern);
    for (const [i, name] of names.entries()) {
      const bytes = pristine.get(name)!;
      const other = pristine.get(names[(i + 1) % names.length]!)!;
      const longer = new Uint8Array(bytes.length + 1);
      longer.set(bytes);
      const changes = [bytes.slice(0, -1), bytes.slice(0, bytes.length >> 1), longer, other];
      for (const [c, change] of [...changes, new Uint8Array(0)].entries()) {
        await outcome(new Map(pristine).set(name, change)).catch((cause) => {
          throw new Error(`${name}, change ${c}: ${String(cause)}`, { cause });
        });
      }
    }
  }
});

test('a log object or a table that is missing where it is needed is noticed', async () => {
  const logs = namesOf(/\/log\/\d+$/);
  for (const name of [...logs.slice(0, -1), ...namesOf(/\/tables\/\d+$/)]) {
    const objects = new Map(pristine);
    objects.delete(name);
    await outcome(objects).catch((cause) => {
      throw new Error(`without ${name}: ${String(cause)}`, { cause });
    });
  }
});

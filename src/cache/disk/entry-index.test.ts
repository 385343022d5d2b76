import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EntryIndex } from './entry-index.ts';
import { MemoryDisk } from './memory-disk.ts';
import { CELL_WORDS, ENTRY_FRAME, ENTRY_HIGH, ENTRY_LOW } from './slab-format.ts';
import { Slab } from './slab.ts';

const ENTRIES = 64;

/** Salt and frame: each of the three words tells some keys apart. */
function wordsOf(key: number): [low: number, high: number, frame: number] {
  return [key & 1, (key >> 1) & 1, key >> 2];
}

/** Slabs whose entries have few different keys, so that they meet. */
async function makeSlabs(keys: readonly number[][]): Promise<Slab[]> {
  const disk = new MemoryDisk();
  const header = { kind: 1, sequence: 1, generationLow: 0, generationHigh: 0 } as const;
  const slabs: Slab[] = [];
  for (const [slot, own] of keys.entries()) {
    const slab = new Slab(slot, header, await disk.open('', String(slot)));
    const cells = new Uint32Array(own.length * CELL_WORDS);
    for (const [at, key] of own.entries())
      cells.set([...wordsOf(key), 0, key + 1], at * CELL_WORDS);
    slab.append(cells, 24);
    slabs.push(slab);
  }
  return slabs;
}

test('the index holds for each key the entry that was put last, like a Map', async () => {
  const keys = fc.array(fc.nat(40), { minLength: ENTRIES, maxLength: ENTRIES });
  const moves = fc.array(fc.tuple(fc.boolean(), fc.nat(3), fc.nat(ENTRIES - 1)), {
    maxLength: 300,
    size: 'max',
  });
  await fc.assert(
    fc.asyncProperty(fc.array(keys, { minLength: 4, maxLength: 4 }), moves, async (all, steps) => {
      const slabs = await makeSlabs(all);
      const index = new EntryIndex(slabs, ENTRIES, 0);
      const model = new Map<number, string>();
      for (const [put, slot, entry] of steps) {
        const slab = slabs[slot]!;
        const key = all[slot]![entry]!;
        const own = `${slot}/${entry}`;
        assert.equal(index.holds(slab, entry), model.get(key) === own);
        if (put) {
          index.put(slab, entry);
          model.set(key, own);
        } else {
          assert.equal(index.remove(slab, entry), model.get(key) === own);
          if (model.get(key) === own) model.delete(key);
        }
      }
      let bytes = 0;
      for (let key = 0; key <= 40; key++) {
        const id = index.find(...wordsOf(key));
        const found = id < 0 ? undefined : `${index.slabOf(id).slot}/${index.entryOf(id)}`;
        assert.equal(found, model.get(key));
        if (found !== undefined) bytes += key + 1;
      }
      assert.equal(index.size, model.size);
      assert.equal(index.bytes, bytes);
      assert.equal(index.find(...wordsOf(41)), -1);
    }),
    { numRuns: 150 },
  );
});

test('entries are found again when the table has grown', async () => {
  const slots = 100;
  const slabs = await makeSlabs(
    Array.from({ length: slots }, (_, slot) =>
      Array.from({ length: ENTRIES }, (__, entry) => slot * ENTRIES + entry),
    ),
  );
  const index = new EntryIndex(slabs, ENTRIES, 0);
  for (const slab of slabs) for (let entry = 0; entry < ENTRIES; entry++) index.put(slab, entry);
  assert.equal(index.size, slots * ENTRIES);
  assert.ok(index.memoryBytes < index.size * 16);
  for (const slab of slabs) {
    for (let entry = 0; entry < ENTRIES; entry++) {
      const [low, high, frame] = [ENTRY_LOW, ENTRY_HIGH, ENTRY_FRAME].map((word) =>
        slab.word(entry, word),
      );
      assert.equal(index.find(low!, high!, frame!), index.idOf(slab, entry));
    }
  }
});

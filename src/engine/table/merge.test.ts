import { test } from 'node:test';
import { deepEqual, equal, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { StorageError } from '../../base/errors.ts';
import { cursorOf, entriesOf } from './cursor.ts';
import type { Cursor, Entry } from './cursor.ts';
import { mergeCursors, takeNewest } from './merge.ts';
import { drain, entryTexts, hex, rejectsWith, sortedEntries } from './testing.ts';

const key = fc
  .array(fc.integer({ min: 0, max: 2 }), { maxLength: 4 })
  .map((b) => Uint8Array.from(b));
const value = fc.uint8Array({ maxLength: 3 });
const list = fc.array(fc.record({ key, value }), { maxLength: 30 }).map(sortedEntries);
const source = fc.record({ list, sync: fc.boolean() });

async function* slowly(entries: readonly Entry[]): AsyncGenerator<Entry> {
  for (const entry of entries) {
    await Promise.resolve();
    yield entry;
  }
}

/** A source that reuses its buffers: what it gives is really valid only until the next step. */
function* borrowed(entries: readonly Entry[]): Generator<Entry> {
  for (const entry of entries) {
    const lent = { key: new Uint8Array(entry.key), value: new Uint8Array(entry.value) };
    yield lent;
    lent.key.fill(0xee);
    lent.value.fill(0xee);
  }
}

function joined(values: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(values.flatMap((one) => [one.length, ...one]));
}

test('each key comes once, in order, with its values newest first', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(source, { maxLength: 7 }),
      fc.boolean(),
      async (sources, isBottom) => {
        const cursors = sources.map((one) =>
          cursorOf(one.sync ? borrowed(one.list) : slowly(one.list)),
        );
        const byKey = new Map<string, Entry & { values: Uint8Array[] }>();
        for (const entry of sources.flatMap((one) => one.list)) {
          const known = byKey.get(hex(entry.key)) ?? { ...entry, values: [] };
          known.values.push(entry.value);
          byKey.set(hex(entry.key), known);
        }
        const dropped = (entry: Uint8Array): boolean => entry.length % 3 === 2;
        const wanted = [...byKey.values()]
          .filter((entry) => !dropped(entry.key))
          .map((entry) => ({ key: entry.key, value: joined(entry.values) }));
        const merged = mergeCursors(
          cursors,
          (k, values, bottom) => {
            equal(bottom, isBottom);
            return dropped(k) ? undefined : joined(values);
          },
          isBottom,
        );
        deepEqual(await drain(merged), entryTexts(sortedEntries(wanted)));
        equal(await merged.next(), false);
      },
    ),
    { numRuns: 400 },
  );
});

test('a merge of memory takes no promise', () => {
  const entries = [1, 2, 3].map((n) => ({ key: Uint8Array.of(n), value: Uint8Array.of(n) }));
  const merged = mergeCursors([cursorOf(entries), cursorOf(entries)], takeNewest, true);
  for (let i = 0; i < 3; i++) equal(merged.next(), true);
  equal(merged.next(), false);
});

test('a merge of nothing is empty', () => {
  equal(mergeCursors([], takeNewest, true).next(), false);
});

test('merges can be merged', async () => {
  await fc.assert(
    fc.asyncProperty(list, list, list, async (a, b, c) => {
      const inner = mergeCursors([cursorOf(b), cursorOf(slowly(c))], takeNewest, false);
      const outer = mergeCursors([cursorOf(slowly(a)), inner], takeNewest, true);
      const flat = mergeCursors([cursorOf(a), cursorOf(b), cursorOf(c)], takeNewest, true);
      const found: Entry[] = [];
      for await (const entry of entriesOf(outer)) found.push(entry);
      deepEqual(entryTexts(found), await drain(flat));
    }),
  );
});

test('a failure of any source reaches the caller, and the merge does not go on', async () => {
  const good = [1, 2, 3].map((n) => ({ key: Uint8Array.of(n), value: Uint8Array.of(n) }));
  async function* bad(): AsyncGenerator<Entry> {
    yield good[0]!;
    await Promise.resolve();
    throw new StorageError('corrupt', 'planted');
  }
  const merged = mergeCursors([cursorOf(bad()), cursorOf(slowly(good))], takeNewest, true);
  await rejectsWith(drain(merged), 'corrupt');
  throws(() => merged.next(), /not after a failure/);
  // Two at once, one of them thrown on the spot: neither is left unhandled.
  const thrower: Cursor = {
    key: good[0]!.key,
    value: good[0]!.value,
    next: () => {
      throw new StorageError('corrupt', 'planted');
    },
  };
  const both = mergeCursors([cursorOf(bad()), thrower], takeNewest, true);
  await rejectsWith(both.next(), 'corrupt');
});

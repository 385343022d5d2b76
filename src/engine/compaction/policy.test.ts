import { test } from 'node:test';
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { createSeededRng } from '../../base/rng.ts';
import { COMPACTION_DEFAULTS, pickCompaction, runCountMax } from './policy.ts';
import type { CompactionSettings } from './policy.ts';

const SETTINGS: CompactionSettings = { fanIn: 4, tierBytes: 100 };

function pick(sizes: readonly number[]): unknown {
  return pickCompaction(
    sizes.map((bytes) => ({ bytes })),
    SETTINGS,
  );
}

test('runs of one tier are merged when there are enough of them', () => {
  equal(pick([]), undefined);
  equal(pick([10, 10, 10]), undefined);
  deepEqual(pick([10, 10, 10, 10]), { from: 0, to: 4 });
  deepEqual(pick([10, 10, 10, 399, 10]), { from: 0, to: 5 });
  deepEqual(pick([10, 10, 400, 500, 600, 700]), { from: 0, to: 6 });
  equal(pick([10, 10, 10, 400, 500, 600, 1600, 1700]), undefined);
});

test('small runs are merged before large ones, and only neighbours in age', () => {
  deepEqual(pick([400, 400, 400, 400, 9, 9, 9, 9]), { from: 4, to: 8 });
  equal(pick([9, 9, 1_000_000, 9, 9]), undefined);
});

test('small runs caught between large ones are merged when there are too many of either', () => {
  const sizes = [9, 9, 9, 6400, 9, 9, 9, 6400, 9, 9, 9, 25_600, 7, 8, 9, 25_600];
  const runs = sizes.map((bytes) => ({ bytes }));
  ok(runs.length > runCountMax(runs, SETTINGS));
  deepEqual(pick(sizes), { from: 12, to: 15 });
  // With less above them they may stay.
  equal(pick(sizes.slice(0, 8)), undefined);
});

interface Outcome {
  readonly runsMax: number;
  readonly flushedBytes: number;
  readonly writtenBytes: number;
}

/** Flushes runs of the given sizes and merges whatever is picked; checks the bound after each. */
function play(
  flushes: readonly number[],
  settings: CompactionSettings,
  mergedBytes: (inputs: number) => number,
): Outcome {
  const runs: { readonly bytes: number }[] = [];
  let runsMax = 0;
  let flushedBytes = 0;
  let writtenBytes = 0;
  for (const bytes of flushes) {
    runs.unshift({ bytes });
    flushedBytes += bytes;
    for (;;) {
      const group = pickCompaction(runs, settings);
      if (group === undefined) break;
      ok(group.from >= 0 && group.to <= runs.length && group.to - group.from >= 2);
      const inputs = runs.slice(group.from, group.to).reduce((sum, run) => sum + run.bytes, 0);
      const merged = { bytes: mergedBytes(inputs) };
      writtenBytes += merged.bytes;
      runs.splice(group.from, group.to - group.from, merged);
    }
    ok(runs.length <= runCountMax(runs, settings));
    runsMax = Math.max(runsMax, runs.length);
  }
  return { runsMax, flushedBytes, writtenBytes };
}

test('whatever the sizes, compaction ends and the number of runs stays logarithmic', () => {
  const flushes = fc.array(
    fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 10_000 }), fc.nat({ max: 10_000_000 })),
    { maxLength: 200 },
  );
  const fanIn = fc.integer({ min: 2, max: 8 });
  fc.assert(
    fc.property(
      flushes,
      fanIn,
      fc.double({ min: 0.2, max: 1, noNaN: true }),
      (sizes, fan, kept) => {
        play(sizes, { fanIn: fan, tierBytes: 100 }, (bytes) => Math.ceil(bytes * kept));
      },
    ),
  );
});

test('a byte is rewritten about once per tier, for even and for uneven flushes', (t) => {
  const rng = createSeededRng(1);
  const mebibyte = 1024 * 1024;
  const shapes: Readonly<Record<string, () => number>> = {
    'even, 4 MiB': () => 4 * mebibyte,
    'uneven, 16 KiB to 8 MiB': () => 16 * 1024 * 2 ** (rng.float() * 9),
    'tiny, 4 KiB': () => 4096,
    'one large in fifty': () => (rng.float() < 0.02 ? 64 * mebibyte : 200 * 1024),
  };
  for (const [name, size] of Object.entries(shapes)) {
    const flushes = Array.from({ length: 3000 }, size);
    const outcome = play(flushes, COMPACTION_DEFAULTS, (bytes) => bytes);
    const amplification = 1 + outcome.writtenBytes / outcome.flushedBytes;
    t.diagnostic(`${name}: ×${amplification.toFixed(1)}, at most ${outcome.runsMax} runs`);
    // Flushes far below a tier's size are rewritten within the lowest tier.
    ok(amplification < (name.startsWith('tiny') ? 16 : 6), `${name}: ×${amplification}`);
    ok(outcome.runsMax <= 20, `${name}: ${outcome.runsMax} runs`);
  }
});

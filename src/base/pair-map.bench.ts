// PairMap beside a Map keyed by one number: nanoseconds for each call, keys in random order.
// Run: node src/base/pair-map.bench.ts

import { PairMap } from './pair-map.ts';
import { createSeededRng } from './rng.ts';

const BLOCKS_PER_SEGMENT = 2048;
const ROUNDS = 5;

interface Keys {
  readonly segments: Float64Array;
  readonly blocks: Float64Array;
}

function shuffledKeys(count: number): Keys {
  const rng = createSeededRng(1);
  const segments = new Float64Array(count);
  const blocks = new Float64Array(count);
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index--) {
    const other = Math.floor(rng.float() * (index + 1));
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  for (let index = 0; index < count; index++) {
    segments[index] = Math.floor(order[index]! / BLOCKS_PER_SEGMENT);
    blocks[index] = order[index]! % BLOCKS_PER_SEGMENT;
  }
  return { segments, blocks };
}

/** The best of several rounds: what the machine does when nothing else disturbs it. */
function nanosecondsEach(count: number, prepare: () => void, work: () => void): string {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    prepare();
    const start = performance.now();
    work();
    best = Math.min(best, performance.now() - start);
  }
  return `${((best / count) * 1e6).toFixed(0)} ns`;
}

function measurePairMap(keys: Keys, count: number): Record<string, string> {
  let map = new PairMap(count);
  let sink = 0;
  const { segments, blocks } = keys;
  const nothing = (): void => {};
  const fill = (): void => {
    for (let i = 0; i < count; i++) map.set(segments[i]!, blocks[i]!, i);
  };
  const set = nanosecondsEach(count, () => (map = new PairMap(count)), fill);
  const setGrowing = nanosecondsEach(count, () => (map = new PairMap()), fill);
  const hit = nanosecondsEach(count, nothing, () => {
    for (let i = 0; i < count; i++) sink += map.get(segments[i]!, blocks[i]!);
  });
  const miss = nanosecondsEach(count, nothing, () => {
    for (let i = 0; i < count; i++) sink += map.get(segments[i]!, blocks[i]! + 4096);
  });
  const memory = `${(map.memoryBytes / count).toFixed(0)} B each`;
  const remove = nanosecondsEach(count, fill, () => {
    for (let i = 0; i < count; i++) map.delete(segments[i]!, blocks[i]!);
  });
  if (sink === 0) throw new Error('nothing was found');
  return { table: `PairMap ${count}`, set, setGrowing, hit, miss, delete: remove, memory };
}

function measureMap(keys: Keys, count: number): Record<string, string> {
  let map = new Map<number, number>();
  let sink = 0;
  const { segments, blocks } = keys;
  const nothing = (): void => {};
  const fill = (): void => {
    for (let i = 0; i < count; i++) map.set(segments[i]! * 2 ** 20 + blocks[i]!, i);
  };
  const setGrowing = nanosecondsEach(count, () => (map = new Map()), fill);
  const hit = nanosecondsEach(count, nothing, () => {
    for (let i = 0; i < count; i++) sink += map.get(segments[i]! * 2 ** 20 + blocks[i]!) ?? -1;
  });
  const miss = nanosecondsEach(count, nothing, () => {
    for (let i = 0; i < count; i++) {
      sink += map.get(segments[i]! * 2 ** 20 + blocks[i]! + 4096) ?? -1;
    }
  });
  const remove = nanosecondsEach(count, fill, () => {
    for (let i = 0; i < count; i++) map.delete(segments[i]! * 2 ** 20 + blocks[i]!);
  });
  if (sink === 0) throw new Error('nothing was found');
  return { table: `Map<number> ${count}`, setGrowing, hit, miss, delete: remove };
}

const rows = [30_000, 600_000].flatMap((count) => {
  const keys = shuffledKeys(count);
  return [measurePairMap(keys, count), measureMap(keys, count)];
});
console.table(rows);

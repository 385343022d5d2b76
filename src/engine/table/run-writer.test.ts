import { test } from 'node:test';
import { equal, ok } from 'node:assert/strict';
import { StorageError } from '../../base/errors.ts';
import { createSeededRng } from '../../base/rng.ts';
import { cursorOf } from './cursor.ts';
import type { Entry } from './cursor.ts';
import { writeRun } from './run-writer.ts';
import type { RunWriterDeps } from './run-writer.ts';
import { createTestWorld, randomEntries, rejectsWith, testTableName } from './testing.ts';
import type { TestWorld } from './testing.ts';

interface Uploads {
  underWay: number;
  underWayMax: number;
  done: number;
}

/** A store whose puts take many turns. */
function slowPuts(world: TestWorld): { readonly deps: RunWriterDeps; readonly uploads: Uploads } {
  const uploads: Uploads = { underWay: 0, underWayMax: 0, done: 0 };
  const store = {
    ...world.store,
    async putIfAbsent(...args: Parameters<typeof world.store.putIfAbsent>): Promise<void> {
      uploads.underWay += 1;
      uploads.underWayMax = Math.max(uploads.underWayMax, uploads.underWay);
      for (let i = 0; i < 500; i++) await Promise.resolve();
      await world.memory.putIfAbsent(...args);
      uploads.underWay -= 1;
      uploads.done += 1;
    },
  };
  return { deps: { ...world, store }, uploads };
}

function createIds(): {
  readonly allocateId: () => number;
  readonly nameOf: (id: number) => string;
} {
  let last = 0;
  return { allocateId: () => ++last, nameOf: testTableName };
}

test('one table at most is uploaded while the next one is built', async () => {
  const world = createTestWorld();
  const { deps, uploads } = slowPuts(world);
  const source = cursorOf(randomEntries(createSeededRng(1), 500));
  const run = await writeRun(deps, world.settings, source, { cause: 'flush', ...createIds() });
  ok(run.tables.length > 5);
  equal(uploads.done, run.tables.length);
  equal(uploads.underWayMax, 1);
});

test('a failure is told only when the upload under way has ended', async () => {
  const world = createTestWorld();
  const { deps, uploads } = slowPuts(world);
  function* failing(): Generator<Entry> {
    yield* randomEntries(createSeededRng(1), 60);
    throw new StorageError('corrupt', 'planted');
  }
  const options = { cause: 'flush', ...createIds() } as const;
  await rejectsWith(writeRun(deps, world.settings, cursorOf(failing()), options), 'corrupt');
  equal(uploads.underWay, 0);
  ok(uploads.done > 0);
});

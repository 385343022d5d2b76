import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStorageError } from '../src/base/errors.ts';
import type { ObjectStore, RequestOptions } from '../src/objectstore/object-store.ts';
import { Dice } from './dice.ts';
import { FaultyStore } from './faulty-store.ts';
import type { FaultProfile, FaultRates } from './network.ts';
import { Gate, World } from './world.ts';

const OPTIONS: RequestOptions = { cause: 'admin' };
const BODY = [Buffer.from('0123456789')];
const NO_FAULTS: FaultRates = {
  refused: 0,
  throttled: 0,
  hung: 0,
  lost: 0,
  late: 0,
  stalled: 0,
  slow: 0,
  twice: 0,
  truncated: 0,
};

interface Bench {
  readonly world: World;
  readonly store: FaultyStore;
  readonly view: ObjectStore;
}

/** Runs `scene` in virtual time. */
async function play(
  rates: Partial<FaultRates>,
  scene: (bench: Bench) => Promise<void>,
  profile: Partial<FaultProfile> = {},
): Promise<void> {
  const world = new World();
  const store = new FaultyStore(
    world,
    new Dice(1),
    {
      latencyMsMax: 5,
      stallMsMax: 10_000,
      retryAfterMsMax: 1000,
      rates: { ...NO_FAULTS, ...rates },
      outageEveryMs: 0,
      outageMsMax: 0,
      staleListMsMax: 0,
      ...profile,
    },
    () => {},
  );
  const view = store.view({ name: 'p', gate: new Gate(world) });
  await world.run(() => scene({ world, store, view }));
}

test('a throttled request is told when to come back, and never lands', async () => {
  await play({ throttled: 1 }, async ({ store, view }) => {
    await assert.rejects(
      view.putIfAbsent('k', BODY, OPTIONS),
      (error) => isStorageError(error, 'unavailable') && error.retryAfterMs !== undefined,
    );
    assert.equal(store.memory.objects.size, 0);
  });
});

test('a request that hangs may land, and is never answered', async () => {
  await play({ hung: 1 }, async ({ world, store, view }) => {
    const controller = new AbortController();
    let settled = 0;
    const puts = Array.from({ length: 20 }, (_, i) =>
      view
        .putIfAbsent(`k${i}`, BODY, { ...OPTIONS, signal: controller.signal })
        .catch((error: unknown) => {
          settled += 1;
          assert.ok(isStorageError(error, 'aborted'));
        }),
    );
    await world.sleep(1_000_000);
    assert.equal(settled, 0);
    controller.abort();
    await Promise.all(puts);
    const { size } = store.memory.objects;
    assert.ok(size > 0 && size < 20, `${size} landed`);
  });
});

test('a request that lands twice lands again when all is forgotten', async () => {
  await play({ twice: 1 }, async ({ world, store, view }) => {
    await view.putIfAbsent('k', BODY, OPTIONS);
    store.memory.objects.delete('k');
    await world.sleep(10_000);
    assert.ok(store.memory.objects.has('k'));
    assert.ok(store.isQuiet);
  });
});

test('an answer may be short, and says how long it should have been', async () => {
  await play({ truncated: 1 }, async ({ view }) => {
    await view.putIfAbsent('k', BODY, OPTIONS);
    const { bytes, objectBytes } = await view.get('k', undefined, OPTIONS);
    assert.ok(bytes.length < 10);
    assert.equal(objectBytes, 10);
  });
});

test('a slow request lands long before its answer', async () => {
  await play({ slow: 1 }, async ({ world, store, view }) => {
    const puts = [1, 2, 3, 4, 5].map((i) => view.putIfAbsent(`k${i}`, BODY, OPTIONS));
    await world.sleep(5);
    assert.equal(store.memory.objects.size, 5);
    await Promise.all(puts);
    assert.ok(world.nowMs > 100);
  });
});

test('in an outage nothing gets through, and then everything does', async () => {
  const outages = { outageEveryMs: 10_000, outageMsMax: 60_000 };
  await play(
    {},
    async ({ world, view }) => {
      const outcomes: string[] = [];
      for (let i = 0; i < 500; i++) {
        const controller = new AbortController();
        world.after(50, () => controller.abort());
        const head = view.head('k', { ...OPTIONS, signal: controller.signal });
        outcomes.push(await head.then(() => 'up').catch(() => 'down'));
        await world.sleep(1000);
      }
      const changes = outcomes.filter((outcome, i) => outcome !== outcomes[i - 1]).length;
      const up = outcomes.filter((outcome) => outcome === 'up').length;
      assert.ok(up > 100 && up < 450, `${up} times up`);
      assert.ok(changes > 4 && changes < 200, `${changes} changes`);
    },
    outages,
  );
});

test('listings see every change, unless they are told to be stale', async () => {
  const seen = async (staleListMsMax: number): Promise<number[]> => {
    const sizes: number[] = [];
    await play(
      {},
      async ({ world, view }) => {
        await view.putIfAbsent('old', BODY, OPTIONS);
        await world.sleep(5000);
        await view.delete('old', OPTIONS);
        for (let i = 0; i < 20; i++) {
          await view.putIfAbsent(`new-${i}`, BODY, OPTIONS);
          for await (const page of view.list('', OPTIONS)) sizes.push(page.length - i - 1);
        }
        await world.sleep(5000);
        for await (const page of view.list('', OPTIONS)) sizes.push(page.length - 20);
      },
      { staleListMsMax },
    );
    return sizes;
  };
  assert.ok((await seen(0)).every((difference) => difference === 0));
  const stale = await seen(1000);
  assert.ok(stale.some((difference) => difference < 0));
  assert.equal(stale.at(-1), 0, 'what is older than that is seen');
});

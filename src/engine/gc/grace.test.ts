import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Grace } from './grace.ts';
import { NumberSet } from './number-set.ts';

/** Whether a promise has settled by now. */
function watch(promise: Promise<void>): { readonly done: () => Promise<boolean> } {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  return {
    done: async () => {
      await Promise.resolve();
      await Promise.resolve();
      return settled;
    },
  };
}

test('a delete waits for those who were inside, not for those who came later', async () => {
  const grace = new Grace();
  assert.ok(await watch(grace.quiesced()).done());
  const first = grace.enter();
  const second = grace.enter();
  const waiting = watch(grace.quiesced());
  const third = grace.enter();
  const later = watch(grace.quiesced());
  grace.leave(second);
  assert.ok(!(await waiting.done()));
  grace.leave(first);
  assert.ok(await waiting.done());
  assert.ok(!(await later.done()));
  grace.leave(third);
  assert.ok(await later.done());
});

test('a reader that fails has left as well', async () => {
  const grace = new Grace();
  await assert.rejects(grace.hold(Promise.reject(new Error('lost'))), /lost/);
  assert.ok(await watch(grace.quiesced()).done());
});

test('readers and waits in any order agree with a plain list', async () => {
  const step = fc.oneof(fc.constant('enter'), fc.constant('wait'), fc.nat({ max: 5 }));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const grace = new Grace();
      const inside: { readonly generation: number; readonly id: number }[] = [];
      const waits: { readonly of: Set<number>; readonly watch: ReturnType<typeof watch> }[] = [];
      let nextId = 0;
      for (const what of steps) {
        if (what === 'enter') inside.push({ generation: grace.enter(), id: nextId++ });
        else if (what === 'wait') {
          waits.push({ of: new Set(inside.map(({ id }) => id)), watch: watch(grace.quiesced()) });
        } else if (inside.length > 0) {
          const [gone] = inside.splice(what % inside.length, 1);
          grace.leave(gone!.generation);
        }
        for (const wait of waits) {
          const expected = !inside.some(({ id }) => wait.of.has(id));
          assert.equal(await wait.watch.done(), expected);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('a set of numbers agrees with a Set', () => {
  const number = fc.oneof(fc.nat({ max: 200 }), fc.integer({ min: 0, max: 2 ** 53 - 1 }));
  fc.assert(
    fc.property(fc.array(number), fc.array(number), (added, asked) => {
      const set = new NumberSet();
      for (const one of added) set.add(one);
      const model = new Set(added);
      assert.equal(set.size, model.size);
      for (const one of [...added, ...asked]) assert.equal(set.has(one), model.has(one));
    }),
  );
});

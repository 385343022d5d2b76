import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SlotLinks, SlotQueue } from './slot-queue.ts';

const SLOTS = 12;

function drain(queue: SlotQueue): number[] {
  const slots: number[] = [];
  for (let slot = queue.shift(); slot >= 0; slot = queue.shift()) slots.push(slot);
  return slots;
}

test('queues that share links keep their order, whichever slots leave from the middle', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom(0, 1), fc.nat(SLOTS - 1), fc.boolean()), {
    maxLength: 100,
  });
  fc.assert(
    fc.property(steps, (moves) => {
      const links = new SlotLinks(SLOTS);
      const queues = [new SlotQueue(links), new SlotQueue(links)];
      const models: number[][] = [[], []];
      for (const [which, slot, takeOldest] of moves) {
        const holder = models.findIndex((model) => model.includes(slot));
        if (takeOldest) {
          assert.equal(queues[which]!.shift(), models[which]!.shift() ?? -1);
        } else if (holder >= 0) {
          queues[holder]!.remove(slot);
          models[holder] = models[holder]!.filter((other) => other !== slot);
        } else {
          queues[which]!.push(slot);
          models[which]!.push(slot);
        }
        assert.deepEqual(
          queues.map((queue) => queue.size),
          models.map((model) => model.length),
        );
      }
      assert.deepEqual(queues.map(drain), models);
    }),
  );
});

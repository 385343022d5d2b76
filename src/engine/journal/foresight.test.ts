// When a barrier is foreseen, and what that does to the journal.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noise } from '../testing.ts';
import { Foresight } from './foresight.ts';
import { BLOCK, expectBlock, INODE, JournalBed } from './testing.ts';

/** For each change whether a barrier was foreseen; `counts` are changes before each barrier. */
function foreseen(counts: readonly number[]): string[] {
  const foresight = new Foresight();
  return counts.map((count) => {
    const said = Array.from({ length: count }, () => (foresight.changed() ? 'x' : '.'));
    foresight.barrier();
    return said.join('');
  });
}

test('what was the same a few times is foreseen, at the last change and not before', () => {
  assert.deepEqual(foreseen([1, 1, 1, 1, 1]), ['.', '.', '.', 'x', 'x']);
  assert.deepEqual(foreseen([3, 3, 3, 3]), ['...', '...', '...', '..x']);
});

test('some strays are forgiven, another habit is learned', () => {
  assert.deepEqual(foreseen([1, 1, 1, 1, 1, 4, 1]).at(-1), 'x');
  const changed = foreseen([1, 1, 1, 2, 2, 2, 2, 2, 2]);
  assert.deepEqual(changed.slice(3), ['x.', '..', '..', '..', '..', '.x']);
});

test('who has no habit is left alone, and a barrier with nothing before it says nothing', () => {
  assert.ok(foreseen([5, 1, 7, 2, 9, 3, 4, 8, 6]).every((said) => !said.includes('x')));
  assert.deepEqual(foreseen([1, 0, 1, 0, 1, 0, 1]), ['.', '', '.', '', '.', '', 'x']);
});

test('the record of a barrier that is foreseen is durable before it is asked for', async () => {
  const bed = await JournalBed.create(3);
  const db = await bed.open();
  bed.link.cut = true;
  for (let i = 0; i < 3; i++) {
    await db.write(INODE, i * BLOCK, noise(i, BLOCK));
    await db.barrier();
  }
  const before = bed.disk.counts.appends;
  await db.write(INODE, 3 * BLOCK, noise(3, BLOCK));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(bed.disk.counts.appends - before, 1);
  assert.equal(db.barrier(), undefined, 'there is nothing left to wait for');
  assert.equal(bed.disk.counts.appends - before, 1);
  bed.crash();
  const again = await bed.open();
  await expectBlock(again, 3, 3);
  await again.close();
});

test('a change behind the record that went ahead has one of its own', async () => {
  const bed = await JournalBed.create(4);
  const db = await bed.open();
  bed.link.cut = true;
  for (let i = 0; i < 3; i++) {
    await db.write(INODE, 0, noise(i, BLOCK));
    await db.barrier();
  }
  await db.write(INODE, 0, noise(10, BLOCK));
  await new Promise((resolve) => setImmediate(resolve));
  await db.write(INODE, 0, noise(11, BLOCK));
  await db.write(INODE, BLOCK, noise(12, BLOCK));
  await db.barrier();
  bed.crash();
  const again = await bed.open();
  await expectBlock(again, 0, 11);
  await expectBlock(again, 1, 12);
  await again.close();
});

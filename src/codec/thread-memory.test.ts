import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { allocateShared } from './shared.ts';
import { MemoryLedger, MemoryMirror, type MemoryNews } from './thread-memory.ts';

test('the thread sees the bytes that were named, however many buffers come and go', () => {
  const buffers = Array.from({ length: 60 }, (_, i) => allocateShared(64).fill(i));
  const picks = fc.array(fc.nat(59), { maxLength: 300 });
  fc.assert(
    fc.property(picks, (order) => {
      const ledger = new MemoryLedger();
      const mirror = new MemoryMirror();
      for (const pick of order) {
        const news: MemoryNews = { introduced: [], forgotten: [] };
        const view = ledger.describe(buffers[pick]!.subarray(8, 16), news);
        mirror.learn(news);
        assert.deepEqual(
          [...mirror.view(view)],
          Array.from({ length: 8 }, () => pick),
        );
      }
    }),
  );
});

test('a buffer that stays in use is sent once', () => {
  const ledger = new MemoryLedger();
  const kept = allocateShared(8);
  let sent = 0;
  for (let i = 0; i < 100; i++) {
    const news: MemoryNews = { introduced: [], forgotten: [] };
    ledger.describe(kept, news);
    ledger.describe(allocateShared(8), news);
    sent += news.introduced.filter(({ buffer }) => buffer === kept.buffer).length;
  }
  assert.equal(sent, 1);
});
